//! QR codes as SVG.

use std::fmt::Write;

use qrcode::{Color, QrCode};

/// A QR code: the side in modules with the quiet zone, and the path of its dark modules.
pub(super) struct Qr {
    pub(super) side: usize,
    pub(super) path: String,
}

/// The quiet zone (ISO/IEC 18004).
const QUIET: usize = 4;

impl Qr {
    /// Returns the code of a text; `None` if it is too long.
    pub(super) fn of(text: &str) -> Option<Self> {
        let code = QrCode::new(text).ok()?;
        let width = code.width();
        let mut path = String::new();
        for (y, row) in code.to_colors().chunks(width).enumerate() {
            let mut x = QUIET;
            // Runs of modules of one color.
            for run in row.chunk_by(|one, other| one == other) {
                let length = run.len();
                if run.first() == Some(&Color::Dark) {
                    let _ = write!(path, "M{x} {}h{length}v1H{x}z", y + QUIET);
                }
                x += length;
            }
        }
        Some(Self {
            side: width + 2 * QUIET,
            path,
        })
    }
}
