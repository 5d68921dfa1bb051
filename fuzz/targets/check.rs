#![no_main]

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use prost::Message;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(question) = CheckRequest::decode(data) {
        realmgate::fuzzing::check(&question);
    }
});
