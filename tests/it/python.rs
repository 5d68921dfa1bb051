//! The Python client, with its own tests: they run the real binary, and the real requests, httpx, aiohttp, Django,
//! Flask and FastAPI. And the shop, whose services are in Python and Rust.

use std::path::Path;
use std::process::Command;

#[test]
fn python_client_passes_its_tests_with_real_libraries() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let client = project.join("clients/python");
    let tools = project.join("target/tools/client");
    let pins = |path: &Path| {
        std::fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("{}: {error}; run scripts/setup test", path.display()))
    };
    assert_eq!(
        pins(&tools.join(".pins")),
        pins(&client.join("requirements.txt")),
        "other versions are installed than clients/python/requirements.txt names; run scripts/setup test"
    );
    let output = Command::new(tools.join("bin/python"))
        .args(["-m", "pytest", "--quiet"])
        .current_dir(&client)
        .env("REALMGATE_BINARY", env!("CARGO_BIN_EXE_realmgate"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap_or_else(|error| panic!("python: {error}; run scripts/setup test"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    // The last line counts them. One that was skipped has tested nothing.
    let summary = text.lines().last().unwrap();
    assert!(summary.contains(" passed"), "{text}");
    assert!(!summary.contains("skipped"), "{text}");
}

#[test]
fn services_of_the_shop_call_each_other_through_realmgate() {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let realmgate = Path::new(env!("CARGO_BIN_EXE_realmgate"));
    // Cargo builds the examples with the tests.
    let stock = realmgate.with_file_name("examples").join("stock");
    assert!(
        stock.exists(),
        "{} is missing; run `cargo build --examples`",
        stock.display()
    );
    let output = Command::new(project.join("target/tools/client/bin/python"))
        .arg(project.join("examples/shop/run"))
        .arg(realmgate)
        .arg(stock)
        .output()
        .unwrap_or_else(|error| panic!("python: {error}; run scripts/setup test"));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{output:?}");
    assert_eq!(text.matches('✓').count(), 10, "{text}");
}
