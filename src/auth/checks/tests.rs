//! Tests of the check: what is hashed, what is remembered, who waits.

use std::sync::atomic::Ordering::Relaxed;

use distkv_store::value::{Packer, Value};

use super::super::secrets::{upgraded, with_password, with_token};
use super::super::token::Token;
use super::*;

const CHEAP: Cost = Cost { memory_kib: 8, passes: 1, lanes: 1 };

fn checks() -> Checks {
    Checks::new(Bounds { cost: CHEAP, parallel: 1, queue: 100 }).unwrap()
}

fn hashed(password: &[u8]) -> Value {
    let hashed = Hashed::make(&Digest::of(password), b"0123456789abcdef", CHEAP).unwrap();
    with_password(&Value::nil(), &hashed, None).unwrap()
}

fn imported(password: &[u8]) -> Value {
    let mut bytes = Vec::new();
    let mut packer = Packer(&mut bytes);
    packer.map(1);
    packer.str("password");
    packer.bin(Digest::of(password).as_bytes());
    Value::from_msgpack(&bytes).unwrap()
}

fn claim(shown: &str) -> Claim<'static> {
    Claim { user: "ann", shown: Digest::of(shown.as_bytes()), address: Some([192, 0, 2, 1].into()) }
}

#[expect(clippy::disallowed_methods, reason = "the runtime's own clock, which stands still in tests")]
fn paused_clock() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

#[tokio::test]
async fn a_login_that_was_right_is_hashed_once() {
    let (checks, record) = (checks(), hashed(b"secret"));
    assert!(checks.check_at_once(&claim("secret"), Some(&Secrets::of(&record))).is_none());
    for _ in 0..100 {
        checks.check(claim("secret"), Some(&Secrets::of(&record))).await.unwrap();
    }
    assert_eq!(checks.counters().hashed.load(Relaxed), 1);
    assert_eq!(checks.counters().remembered.load(Relaxed), 99);
    assert!(checks.check_at_once(&claim("secret"), Some(&Secrets::of(&record))).is_some());
    // Another password, even if it reads the same, is another login.
    let other = Hashed::make(&Digest::of(b"secret"), b"fedcba9876543210", CHEAP).unwrap();
    let other = with_password(&record, &other, None).unwrap();
    assert!(checks.check_at_once(&claim("secret"), Some(&Secrets::of(&other))).is_none());
}

#[tokio::test]
async fn many_who_show_the_same_at_a_time_are_hashed_once() {
    let (checks, record) = (Arc::new(checks()), hashed(b"secret"));
    let kept = Secrets::of(&record);
    let all = (0..50).map(|_| checks.check(claim("secret"), Some(&kept)));
    assert!(futures_util::future::join_all(all).await.iter().all(Result::is_ok));
    assert_eq!(checks.counters().hashed.load(Relaxed), 1);
}

#[tokio::test]
async fn who_is_not_known_costs_as_much_as_who_is() {
    let checks = checks();
    let records = [hashed(b"secret"), imported(b"secret"), Value::nil()];
    for record in [None, Some(&records[0]), Some(&records[1]), Some(&records[2])] {
        let before = checks.counters().hashed.load(Relaxed);
        let other =
            Claim { address: None, user: if record.is_some() { "ann" } else { "nobody" }, ..claim("wrong") };
        checks.delays.lock().succeeded(&Key::User("ann".into()));
        assert_eq!(checks.check(other, record.map(Secrets::of).as_ref()).await.unwrap_err(), Refused::Wrong);
        assert_eq!(checks.counters().hashed.load(Relaxed), before + 1);
    }
}

#[tokio::test]
async fn a_token_is_checked_without_hashing_and_without_waiting() {
    let checks = checks();
    let token = Token::make("ann").unwrap();
    let record = with_token(&hashed(b"secret"), &token.stored).unwrap();
    for _ in 0..10 {
        checks.note_failure("ann", claim("").address);
    }
    let passed = checks.check_at_once(&claim(&token.text), Some(&Secrets::of(&record))).unwrap();
    assert!(checks.still_holds("ann", &passed.by, &Secrets::of(&record)));
    assert!(
        !checks.still_holds("ann", &passed.by, &Secrets::of(&hashed(b"secret"))),
        "the token was taken back"
    );
    assert_eq!(checks.counters().hashed.load(Relaxed), 0);
    // What is kept of it is no token.
    let stolen = Claim { shown: Digest::from_bytes(token.stored), ..claim("") };
    assert!(checks.check_at_once(&stolen, Some(&Secrets::of(&record))).is_none());
}

#[tokio::test]
async fn an_imported_password_is_upgraded_at_the_first_login() {
    let (checks, record) = (checks(), imported(b"secret"));
    assert_eq!(checks.check(claim("wrong"), Some(&Secrets::of(&record))).await.unwrap_err(), Refused::Wrong);
    let passed = checks.check(claim("secret"), Some(&Secrets::of(&record))).await.unwrap();
    let better = upgraded(&record, &passed.upgrade.unwrap()).unwrap();
    assert!(matches!(Secrets::of(&better).password, Some(Password::Hashed(_))));
    assert!(
        checks.still_holds("ann", &passed.by, &Secrets::of(&record))
            && checks.still_holds("ann", &passed.by, &Secrets::of(&better))
    );
    assert!(
        !checks.still_holds("ann", &passed.by, &Secrets::of(&hashed(b"secret"))),
        "set anew by somebody else"
    );
    assert!(checks.check_at_once(&claim("secret"), Some(&Secrets::of(&better))).is_some());
}

#[tokio::test(start_paused = true)]
async fn who_fails_again_and_again_is_answered_late() {
    let (checks, record) = (checks(), hashed(b"secret"));
    let clock = paused_clock;
    for _ in 0..super::super::delays::FREE {
        assert_eq!(
            checks.check(claim("wrong"), Some(&Secrets::of(&record))).await.unwrap_err(),
            Refused::Wrong
        );
    }
    let before = clock();
    checks.check(claim("secret"), Some(&Secrets::of(&record))).await.unwrap();
    assert!(clock() - before >= Duration::from_millis(250));
    // Others at other addresses wait for the user's sake, unless they are known.
    for _ in 0..super::super::delays::FREE {
        checks.note_failure("ann", None);
    }
    let elsewhere = Claim { address: Some([192, 0, 2, 9].into()), ..claim("secret") };
    let before = clock();
    checks.check(elsewhere, Some(&Secrets::of(&record))).await.unwrap();
    assert_eq!(clock(), before);
    // Both that address and that user.
    assert_eq!(checks.counters().delayed.load(Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn who_is_known_at_an_address_does_not_suffer_from_others_there() {
    let (checks, record) = (checks(), hashed(b"secret"));
    let kept = Secrets::of(&record);
    checks.check(claim("secret"), Some(&kept)).await.unwrap();
    for n in 0..20 {
        checks.note_failure(&format!("other{n}"), claim("").address);
    }
    assert!(checks.check_at_once(&claim("secret"), Some(&kept)).is_some());
    let stranger = Claim { user: "bob", ..claim("secret") };
    let before = paused_clock();
    checks.check(stranger, Some(&kept)).await.unwrap();
    assert!(paused_clock() > before);
    // His own failures there are his own.
    for _ in 0..super::super::delays::FREE {
        assert_eq!(checks.check(claim("wrong"), Some(&kept)).await.unwrap_err(), Refused::Wrong);
    }
    assert!(checks.check_at_once(&claim("secret"), Some(&kept)).is_none());
}

#[tokio::test(start_paused = true)]
async fn not_more_wait_than_there_is_room_for() {
    let (checks, record) = (checks(), hashed(b"secret"));
    for _ in 0..10 {
        checks.note_failure("ann", None);
    }
    let kept = Secrets::of(&record);
    let many = (0..20).map(|_| checks.check(Claim { address: None, ..claim("wrong") }, Some(&kept)));
    let answers = futures_util::future::join_all(many).await;
    let refused = answers.iter().filter(|it| matches!(it, Err(Refused::TooOften))).count();
    assert_eq!(refused, 20 - super::super::delays::WAITING as usize);
    let narrow = Checks::new(Bounds { cost: CHEAP, parallel: 1, queue: 2 }).unwrap();
    let held: Vec<_> = (0..3).map(|_| narrow.place().unwrap()).collect();
    let carl = Claim { address: None, user: "carl", ..claim("secret") };
    assert_eq!(narrow.check(carl, Some(&Secrets::of(&record))).await.unwrap_err(), Refused::Busy);
    assert_eq!(narrow.counters().turned_away.load(Relaxed), 1);
    drop(held);
    narrow.check(carl, Some(&Secrets::of(&record))).await.unwrap();
}

/// 2 µs are the limit for a release build; here it is a bound that shows an Argon2 (which takes 10 000 times as long).
#[test]
fn a_token_and_a_remembered_login_are_cheap() {
    let checks = checks();
    let token = Token::make("ann").unwrap();
    let record = with_token(&hashed(b"secret"), &token.stored).unwrap();
    let Some(Password::Hashed(stored)) = Secrets::of(&record).password else { panic!() };
    checks.remembered.insert(checks.remembered.mark("ann", stored, &Digest::of(b"secret")));
    for shown in [&*token.text, "secret"] {
        let rounds = 2000_u32;
        let before = clock::now();
        for _ in 0..rounds {
            assert!(checks.check_at_once(&claim(shown), Some(&Secrets::of(&record))).is_some());
        }
        let each = clock::now().duration_since(before) / rounds;
        println!("{each:?} for each login");
        assert!(each < Duration::from_micros(if cfg!(debug_assertions) { 500 } else { 2 }), "{each:?}");
    }
}
