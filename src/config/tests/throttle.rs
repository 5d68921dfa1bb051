use super::*;

#[test]
fn delays_that_do_not_fit_are_rejected() {
    assert_errors(&[
        (
            "[throttle]\ndelay = '20m'",
            "2: throttle.longest_delay = \"15m\": expected at least throttle.delay (20m)",
        ),
        (
            "[throttle]\nforget = '1s'\nlongest_delay = '2s'",
            "2: throttle.forget = \"1s\": expected at least throttle.longest_delay (2s)",
        ),
        (
            "[throttle]\nforget = '1h'\nforgive = '2h'",
            "2: throttle.forget = \"1h\": expected at least throttle.forgive (2h)",
        ),
        (
            "[throttle]\ntrust = '1500ms'",
            "2: throttle.trust = '1500ms': expected a duration of whole seconds, \"1s\" to \"24h\"",
        ),
    ]);
}

#[test]
fn realms_say_how_often_a_token_is_good() {
    let config = parse("[realm.b]\nreuse = 'once'\n[realm.a]\nreuse = 'window'\n[realm.c]\n");
    assert_eq!(config.one_time_realms, ["b".into()]);
    assert_errors(&[
        (
            "[realm.a]\nreuse = 'twice'",
            "2: realm.a.reuse = 'twice': expected \"window\" or \"once\"",
        ),
        (
            "[realm.\" a\"]\nreuse = 'once'",
            "1: realm = \" a\": expected the name of a realm, 1 to 128 characters, no NUL, no white space \
             at either end",
        ),
    ]);
}
