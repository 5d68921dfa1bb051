use std::sync::Arc;

use zeroize::Zeroizing;

use super::*;
use crate::auth::{NAME_CHARS, PrincipalError, SeedError, Seeds, Totp, Usage};

const SEED: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
const OTHER: &str = "PZKBPTHDGSLZBKIZPZKBPTHDGSLZBKIZ";
const NOW: UnixTime = UnixTime::from_secs(1_600_000_000);

fn row(id: i64, name: &str) -> Row {
    Row {
        id,
        name: Some(name.to_owned()),
        realm: Some("r".to_owned()),
        seed: Zeroizing::new(SEED.to_owned()),
        active: true,
        created: None,
    }
}

fn here(id: i64, name: &str, seed: &str) -> Identity {
    let parameters = Parameters::default();
    Identity {
        id: IdentityId(id),
        principal: Principal::new(name, "r", NAME_CHARS).unwrap(),
        seeds: Seeds::new(
            Some(Totp::new(&Seed::from_base32(seed).unwrap(), parameters)),
            None,
        )
        .into(),
        is_partial: false,
        parameters,
        state: State::Enabled,
        rare: None,
        usage: Usage::default(),
        derived: Default::default(),
        created: NOW,
        updated: NOW,
        history: Default::default(),
    }
}

fn plan(rows: &[Row], here: &[Identity]) -> Plan {
    let realms = Realms::default();
    let mut builder = PlanBuilder::new(&realms, NAME_CHARS);
    rows.iter().for_each(|row| builder.add(row));
    let mut plan = builder.finish();
    here.iter().for_each(|identity| plan.meet(identity));
    plan
}

fn outcomes(rows: &[Row], here: &[Identity]) -> Vec<Outcome> {
    let plan = plan(rows, here);
    plan.rows().iter().map(|row| row.outcome.clone()).collect()
}

fn left_out(reason: Reason) -> Outcome {
    Outcome::LeftOut(reason)
}

#[test]
fn missing_row_is_imported_under_its_number() {
    let mut plan = plan(&[row(7, "n")], &[here(8, "m", SEED)]);
    assert_eq!((plan.incoming(), plan.left_out()), (1, 0));
    let taken = all(&mut plan);
    assert_eq!(taken[0].id, Some(IdentityId(7)));
    assert_eq!(taken[0].parameters, Parameters::default());
    assert_eq!(taken[0].created, NOW);
}

#[test]
fn same_seed_here_is_unchanged_under_whatever_number() {
    for id in [1, 2] {
        assert_eq!(
            outcomes(&[row(1, "n")], &[here(id, "n", SEED)]),
            [Outcome::Unchanged]
        );
    }
}

#[test]
fn row_that_came_in_under_a_new_number_is_unchanged_the_next_time() {
    let rows = [row(1, "n")];
    let (one, two) = (here(1, "m", SEED), here(2, "n", SEED));
    assert_eq!(
        outcomes(&rows, &[here(1, "m", SEED)]),
        [Outcome::NewId],
        "the first time"
    );
    assert_eq!(outcomes(&rows, &[one, two]), [Outcome::Unchanged]);
}

#[test]
fn order_in_which_identities_are_met_does_not_matter() {
    let rows = [row(1, "n")];
    let met = [here(2, "n", SEED), here(1, "m", SEED)];
    assert_eq!(outcomes(&rows, &met), [Outcome::Unchanged]);
}

#[test]
fn another_seed_here_wins() {
    assert_eq!(
        outcomes(&[row(1, "n")], &[here(5, "n", OTHER)]),
        [left_out(Reason::OtherSeed { here: 5 })]
    );
}

#[test]
fn seed_here_that_does_not_open_is_not_replaced() {
    let mut broken = here(5, "n", SEED);
    broken.seeds = Seeds::default().into();
    assert_eq!(
        outcomes(&[row(1, "n")], &[broken]),
        [left_out(Reason::OtherSeed { here: 5 })]
    );
}

#[test]
fn untrimmed_row_is_not_imported() {
    let spaces = [" ", "\t", "\n", "\u{a0}", "\u{1c}", "\u{3000}"];
    let rows: Vec<Row> = spaces
        .iter()
        .flat_map(|space| [format!("{space}n"), format!("n{space}")])
        .map(|name| row(1, &name))
        .collect();
    for row in rows {
        let mut other = row.clone();
        (other.name, other.realm) = (other.realm, other.name);
        use PrincipalError::Untrimmed;
        assert_eq!(
            outcomes(&[row, other], &[]),
            ["name", "realm"].map(|part| left_out(Reason::Principal(Untrimmed(part))))
        );
    }
}

#[test]
fn untrimmed_realm_makes_no_admin() {
    let mut untrimmed = row(1, "n");
    untrimmed.realm = Some(" ungleich-admin".to_owned());
    let mut plan = plan(&[untrimmed], &[]);
    assert_eq!(plan.rows()[0].notes, []);
    assert!(all(&mut plan).is_empty());
}

#[test]
fn untrimmed_row_does_not_keep_the_other_out() {
    let outcomes = outcomes(&[row(1, " n"), row(2, "n")], &[]);
    assert_eq!(outcomes[1], Outcome::New);
}

#[test]
fn first_of_two_rows_with_the_same_name_and_realm_counts() {
    assert_eq!(
        outcomes(&[row(3, "n"), row(2, "n"), row(4, "m")], &[]),
        [
            Outcome::New,
            left_out(Reason::Duplicate { of: 2 }),
            Outcome::New
        ]
    );
}

#[test]
fn duplicate_with_a_broken_seed_does_not_keep_the_other_out() {
    let mut broken = row(1, "n");
    broken.seed = Zeroizing::new("1".to_owned());
    assert_eq!(
        outcomes(&[broken, row(2, "n")], &[]),
        [left_out(Reason::Seed(SeedError::NotBase32)), Outcome::New]
    );
}

#[test]
fn unreadable_seed_is_not_imported() {
    for seed in [
        "JBSW Y3DP EHPK 3PXP",
        "JBSW-Y3DP-EHPK-3PXP",
        " JBSWY3DPEHPK3PXP",
    ] {
        let mut spaced = row(1, "n");
        spaced.seed = Zeroizing::new(seed.to_owned());
        assert_eq!(
            outcomes(&[spaced], &[]),
            [left_out(Reason::SpacedSeed)],
            "{seed}"
        );
    }
}

#[test]
fn seed_below_40_bits_stays_out_and_below_80_is_to_be_rotated_at_once() {
    let of = |bytes: usize| {
        let mut short = row(1, "n");
        let seed = Seed::from_bytes(&vec![7; bytes]).unwrap();
        short.seed = Zeroizing::new(seed.to_base32().to_string());
        let plan = plan(&[short], &[]);
        let planned = plan.rows()[0].clone();
        (planned.outcome, planned.notes)
    };
    assert_eq!(of(1), (left_out(Reason::ShortSeed { bits: 8 }), vec![]));
    assert_eq!(of(4), (left_out(Reason::ShortSeed { bits: 32 }), vec![]));
    assert_eq!(of(5), (Outcome::New, vec![Note::Short { bits: 40 }]));
    assert_eq!(of(9), (Outcome::New, vec![Note::Short { bits: 72 }]));
    assert_eq!(of(10), (Outcome::New, vec![Note::Weak { bits: 80 }]));
    assert_eq!(of(15), (Outcome::New, vec![Note::Weak { bits: 120 }]));
    assert_eq!(of(16), (Outcome::New, vec![]));
}

#[test]
fn name_that_cannot_be_one_is_kept_in_part() {
    let plan = plan(&[row(1, &"é".repeat(5000))], &[]);
    assert_eq!(plan.rows()[0].name.chars().count(), 129);
}

#[test]
fn numbers_that_the_store_does_not_give_are_not_kept() {
    let highest = 1 << 53;
    let ids = [i64::MIN, 0, 1, highest, highest + 1, i64::MAX];
    let rows: Vec<_> = ids.iter().map(|&id| row(id, &format!("n{id}"))).collect();
    use Outcome::{New, NewId};
    assert_eq!(outcomes(&rows, &[]), [NewId, NewId, New, New, NewId, NewId]);
}

#[test]
fn number_of_two_rows_is_kept_by_the_first() {
    assert_eq!(
        outcomes(&[row(1, "n"), row(1, "m")], &[]),
        [Outcome::New, Outcome::NewId]
    );
}

#[test]
fn rows_that_keep_their_number_go_first() {
    let taken = all(&mut plan(
        &[row(1, "n"), row(2, "m")],
        &[here(1, "x", SEED)],
    ));
    let ids: Vec<_> = taken.iter().map(|it| it.id).collect();
    assert_eq!(ids, [Some(IdentityId(2)), None]);
}

#[test]
fn skipped_rows_are_not_passed_to_the_store() {
    let rows = [row(1, "n"), row(2, " n"), row(3, ""), row(4, "m")];
    let taken = all(&mut plan(&rows, &[here(4, "m", SEED)]));
    let names: Vec<_> = taken.iter().map(|it| it.principal.name()).collect();
    assert_eq!(names, ["n"]);
}

#[test]
fn state_and_date_are_taken_over() {
    let mut off = row(1, "n");
    off.active = false;
    off.created = Some(UnixTime::from_secs(5));
    let mut plan = plan(&[off], &[]);
    assert_eq!(plan.rows()[0].notes, [Note::Disabled]);
    let taken = all(&mut plan);
    assert_eq!(taken[0].state, State::Disabled);
    assert_eq!(taken[0].created, UnixTime::from_secs(5));
}

#[test]
fn seed_below_128_bits_has_a_note() {
    let mut weak = row(1, "n");
    weak.seed = Zeroizing::new("pzkbpthdgslzbkiz".to_owned());
    let plan = plan(&[weak], &[]);
    assert_eq!(plan.rows()[0].notes, [Note::Weak { bits: 80 }]);
    assert_eq!(plan.incoming(), 1);
}

#[test]
fn reserved_realms_have_a_note() {
    let [mut admin, mut auth] = [row(1, "n"), row(2, "n")];
    admin.realm = Some("ungleich-admin".to_owned());
    auth.realm = Some("ungleich-auth".to_owned());
    let plan = plan(&[admin, auth], &[]);
    assert_eq!(plan.rows()[0].notes, [Note::Reserved(Reserved::Admin)]);
    assert_eq!(plan.rows()[1].notes, [Note::Reserved(Reserved::Auth)]);
}

#[test]
fn debug_shows_no_seed() {
    let plan = plan(&[row(1, "n")], &[]);
    assert!(!format!("{plan:?}").contains(SEED));
}

/// Takes all rows, two at a time.
fn all(plan: &mut Plan) -> Vec<ImportedIdentity> {
    let mut all = Vec::new();
    loop {
        let some = plan.take(2, NOW);
        if some.is_empty() {
            return all;
        }
        for taken in some {
            let id = taken.identity.id.unwrap_or(IdentityId(1 << 60));
            plan.settle(taken.at, &Imported::Under(id));
            all.push(taken.identity);
        }
    }
}

#[test]
fn row_that_was_created_meanwhile_is_not_replaced() {
    let mut plan = plan(&[row(1, "n"), row(2, "m"), row(3, "o")], &[]);
    let taken = plan.take(3, NOW);
    assert_eq!(taken.len(), 3);
    let same = Imported::Taken(Arc::new(here(9, "n", SEED)));
    let other = Imported::Taken(Arc::new(here(8, "m", OTHER)));
    for (taken, imported) in taken
        .iter()
        .zip([same, other, Imported::Under(IdentityId(7))])
    {
        plan.settle(taken.at, &imported);
    }
    let outcomes: Vec<_> = plan.rows().iter().map(|row| &row.outcome).collect();
    assert!(matches!(
        outcomes[..],
        [
            Outcome::Unchanged,
            Outcome::LeftOut(Reason::OtherSeed { here: 8 }),
            Outcome::NewId
        ]
    ));
    assert!(plan.take(3, NOW).is_empty());
}
