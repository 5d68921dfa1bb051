//! HMAC, without a trace on the stack.

use hmac::block_api::HmacCore;
use hmac::digest::block_api::{BlockSizeUser, Buffer, BufferKindUser, FixedOutputCore, UpdateCore};
use hmac::{EagerHash, KeyInit};
use zeroize::Zeroize;

use super::seed::Seed;

/// Never part of its caller, so that [`scrub`] overwrites what it leaves on the stack.
#[inline(never)]
pub(super) fn keyed<D: EagerHash>(seed: &Seed) -> Box<HmacCore<D>> {
    #[expect(clippy::expect_used, reason = "HMAC accepts keys of any length")]
    Box::new(HmacCore::new_from_slice(seed.as_bytes()).expect("a key of any length"))
}

/// Overwrites the stack of the last call. The library leaves the padded key there (RFC 2104 §2) and copies of
/// its states, and a thread that has read one identity may not read another for long.
#[inline(never)]
pub(super) fn scrub() {
    let mut stack = [0xff_u8; 4096];
    std::hint::black_box(&mut stack).zeroize();
}

/// Never part of its caller, so that [`scrub`] overwrites what it leaves on the stack.
#[inline(never)]
pub(super) fn truncated<D: EagerHash>(hmac: &HmacCore<D>, counter: [u8; 8]) -> u32
where
    HmacCore<D>: Clone + FixedOutputCore + UpdateCore + BufferKindUser + BlockSizeUser,
{
    let mut hmac = hmac.clone();
    let mut buffer = Buffer::<HmacCore<D>>::default();
    buffer.digest_blocks(&counter, |blocks| hmac.update_blocks(blocks));
    let mut output = Default::default();
    hmac.finalize_fixed_core(&mut buffer, &mut output);
    let offset = output.last().map_or(0, |last| usize::from(last & 0xf));
    let four = output
        .get(offset..offset + 4)
        .and_then(|it| it.try_into().ok());
    u32::from_be_bytes(four.unwrap_or_default()) & 0x7fff_ffff
}
