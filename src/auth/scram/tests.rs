//! The exchange of RFC 7677, a client of our own, and what is refused.

use super::*;

/// The example of RFC 7677, section 3: user "user", password "pencil".
const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const OURS: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
    p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn pencil() -> Account {
    let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let verifier = Verifier::of_password(b"pencil", &salt, 4096).unwrap();
    Account { verifier: Arc::new(verifier), known: true }
}

fn challenged(account: Account) -> Challenge {
    ClientFirst::parse(CLIENT_FIRST.as_bytes()).unwrap().challenge(account, OURS).0
}

fn first(message: &str) -> Result<ClientFirst, ScramError> {
    ClientFirst::parse(message.as_bytes())
}

#[test]
fn the_example_of_the_standard_goes_through() {
    let client_first = first(CLIENT_FIRST).unwrap();
    assert_eq!(client_first.name(), "user");
    let (challenge, server_first) = client_first.challenge(pencil(), OURS);
    assert_eq!(server_first, SERVER_FIRST);
    assert_eq!(challenge.finish(CLIENT_FINAL.as_bytes()), Ok(("user".into(), SERVER_FINAL.into())));
}

#[test]
fn another_password_and_another_message_have_another_proof() {
    let salt = &pencil().verifier.salt;
    let other = Verifier::of_password(b"pencil2", salt, 4096).unwrap();
    let other = Account { verifier: Arc::new(other), known: true };
    let wrong = Err(ScramError::WrongProof);
    assert_eq!(challenged(other).finish(CLIENT_FINAL.as_bytes()), wrong);
    let with_extension = CLIENT_FINAL.replace(",p=", ",x=y,p=");
    assert_eq!(challenged(pencil()).finish(with_extension.as_bytes()), wrong);
    for at in 0..32 {
        let (before, proof) = CLIENT_FINAL.rsplit_once(",p=").unwrap();
        let mut proof = key(proof).unwrap();
        proof[at] ^= 0x10;
        let message = format!("{before},p={}", BASE64.encode(proof));
        assert_eq!(challenged(pencil()).finish(message.as_bytes()), wrong, "byte {at}");
    }
}

#[test]
fn who_is_not_known_is_refused_even_with_the_right_proof() {
    let account = Account { known: false, ..pencil() };
    assert_eq!(challenged(account).finish(CLIENT_FINAL.as_bytes()), Err(ScramError::WrongProof));
}

#[test]
fn a_first_message_is_read_strictly() {
    let name = |message| first(message).map(|first| first.name);
    assert_eq!(name("y,,n=a=2Cb=3Dc,r=x"), Ok("a,b=c".into()));
    assert_eq!(name("n,a=me,n=me,r=x,e=1"), Ok("me".into()));
    assert_eq!(name("n,a=you,n=me,r=x"), Err(ScramError::OtherUser));
    assert_eq!(name("p=tls-exporter,,n=me,r=x"), Err(ScramError::ChannelBinding));
    assert_eq!(name("n,,m=x,n=me,r=x"), Err(ScramError::Extension));
    assert_eq!(name("n,,n=me,r=x,m=y"), Err(ScramError::Extension));
    for message in [
        "",
        "n",
        "n,",
        "n,,",
        "x,,n=me,r=x",
        "n,x,n=me,r=x",
        "n,a=,n=me,r=x",
        "n,,r=x,n=me",
        "n,,n=,r=x",
        "n,,n=me",
        "n,,n=me,r=",
        "n,,n=me,r=a b",
        "n,,n=me,r=\u{e4}",
        "n,,n=a=b,r=x",
        "n,,n=a=2c,r=x",
        "n,,n=a=,r=x",
        "n,,n=a\u{7},r=x",
        "n,,n=a\0,r=x",
        "n,,n=me,r=x,",
        "n,,n=me,r=x,1=y",
        "n,,n=me,r=x,e=",
        "n,,n=me,r=x,ee",
    ] {
        assert!(matches!(first(message), Err(ScramError::Malformed(_))), "{message:?}");
    }
    assert!(matches!(ClientFirst::parse(b"n,,n=\xff,r=x"), Err(ScramError::Malformed(_))));
    let long = |name: usize, nonce: usize| format!("n,,n={},r={}", "n".repeat(name), "r".repeat(nonce));
    assert!(first(&long(NAME_MAX, NONCE_MAX)).is_ok());
    assert!(matches!(first(&long(NAME_MAX + 1, 1)), Err(ScramError::Malformed(_))));
    assert!(matches!(first(&long(1, NONCE_MAX + 1)), Err(ScramError::Malformed(_))));
    assert_eq!(first(&long(1, MESSAGE_MAX)), Err(ScramError::TooLong));
}

#[test]
fn a_last_message_is_read_strictly_and_must_be_of_the_same_exchange() {
    let finish = |message: &str| challenged(pencil()).finish(message.as_bytes()).unwrap_err();
    for (from, to) in [("c=biws", "c=eSws"), ("k0,p", "k1,p"), ("k0,p", "k0x,p"), ("r=rO", "r=R0")] {
        assert_eq!(finish(&CLIENT_FINAL.replace(from, to)), ScramError::OtherExchange, "{to}");
    }
    assert_eq!(finish(&CLIENT_FINAL.replace(",p=", ",m=x,p=")), ScramError::Extension);
    let short = CLIENT_FINAL.replace("p=dHzb", "p=");
    let order = CLIENT_FINAL.replace("c=biws,r=", "r=");
    for message in ["", "c=biws", ",p=", &short, &order, &format!("{CLIENT_FINAL},x=y"), &CLIENT_FINAL[1..]] {
        assert!(matches!(finish(message), ScramError::Malformed(_)), "{message}");
    }
    assert_eq!(finish(&"x".repeat(MESSAGE_MAX + 1)), ScramError::TooLong);
}

#[test]
fn who_says_that_it_could_bind_must_repeat_that() {
    let account = pencil();
    let (challenge, server_first) = first("y,,n=user,r=abc").unwrap().challenge(account.clone(), "xyz");
    let before = "c=eSws,r=abcxyz";
    let signed = format!("n=user,r=abc,{server_first},{before}");
    let salted = salted_password(b"pencil", &account.verifier.salt, 4096);
    let client_key = hmac(&salted, &[b"Client Key"]);
    let mut proof = hmac(&account.verifier.stored_key, &[signed.as_bytes()]);
    proof.iter_mut().zip(client_key).for_each(|(byte, key)| *byte ^= key);
    let message = format!("{before},p={}", BASE64.encode(proof));
    assert_eq!(challenge.clone().finish(message.as_bytes()).map(|(name, _)| name), Ok("user".into()));
    let message = message.replace("c=eSws", "c=biws");
    assert_eq!(challenge.finish(message.as_bytes()), Err(ScramError::OtherExchange));
}

#[test]
fn a_verifier_is_read_as_it_is_written_and_shows_nothing_in_a_log() {
    let verifier = Verifier::clone(&pencil().verifier);
    let text = verifier.to_string();
    assert!(text.starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"), "{text}");
    assert_eq!(text.parse(), Ok(verifier.clone()));
    assert_eq!(format!("{verifier:?}"), "Verifier { iterations: 4096, .. }");
    let refused = |from: &str, to: &str| text.replacen(from, to, 1).parse::<Verifier>().unwrap_err();
    assert_eq!(refused("SCRAM-SHA-256", "SCRAM-SHA-1"), BadVerifier::Form);
    assert_eq!(refused("==$", "=="), BadVerifier::Form);
    assert_eq!(refused("4096", "4095"), BadVerifier::Iterations);
    assert_eq!(refused("4096", "10000001"), BadVerifier::Iterations);
    assert_eq!(refused("4096", "+5000"), BadVerifier::Iterations);
    assert_eq!(refused("W22ZaJ0SNY7soEsUEjb6gQ==", ""), BadVerifier::Salt);
    assert_eq!(refused("W22Z", "W2*Z"), BadVerifier::Salt);
    assert_eq!(refused("==$", "==$AAAA"), BadVerifier::Key("stored"));
    assert_eq!(format!("{text}A").parse::<Verifier>(), Err(BadVerifier::Key("server")));
    assert_eq!(Verifier::of_password(b"x", b"", 4096), Err(BadVerifier::Salt));
    assert_eq!(Verifier::of_password(b"x", b"salt", 1), Err(BadVerifier::Iterations));
}
