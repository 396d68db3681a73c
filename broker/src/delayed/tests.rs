//! The form of the topics, and what waits.

use super::*;

fn message(number: u64, topic: &str, client: &str) -> RecordedDelayed {
    RecordedDelayed {
        number,
        client_id: client.into(),
        user: None,
        due_ms: 0,
        topic: topic.into(),
        payload: Bytes::from_static(b"12345"),
        qos: QoS::AtMostOnce,
        retain: false,
        properties: Bytes::new(),
        message_expiry: None,
        served: Arc::default(),
    }
}

fn waiting(messages: impl IntoIterator<Item = (Instant, RecordedDelayed)>) -> Delayed {
    let delayed = Delayed::default();
    for (at, message) in messages {
        delayed.waiting.lock().insert(at, message);
    }
    delayed
}

fn numbers(page: &Page) -> Vec<u64> {
    page.items.iter().map(|item| item.number).collect()
}

#[test]
fn a_topic_says_for_when_and_where_its_message_is() {
    assert_eq!(Delay::of("a/b"), (Delay::None, "a/b"));
    assert_eq!(Delay::of("$delayedx/1/a"), (Delay::None, "$delayedx/1/a"));
    assert_eq!(Delay::of("x/$delayed/1/a"), (Delay::None, "x/$delayed/1/a"));
    assert_eq!(Delay::of("$delayed/0/a"), (Delay::Seconds(0), "a"));
    assert_eq!(Delay::of("$delayed/0005//a/"), (Delay::Seconds(5), "/a/"));
    assert_eq!(Delay::of("$delayed/4294967/$a"), (Delay::Seconds(SECONDS_MAX), "$a"));
}

#[test]
fn another_form_is_told_from_a_topic_without_delay() {
    for topic in [
        "$delayed",
        "$delayed/",
        "$delayed/5",
        "$delayed/5/",
        "$delayed//a",
        "$delayed/+5/a",
        "$delayed/-1/a",
        "$delayed/ 5/a",
        "$delayed/5s/a",
        "$delayed/4294968/a",
        "$delayed/00000005/a",
        "$delayed/99999999999999999999/a",
        "$delayed/\u{665}/a",
        "$delayed/5/$delayed/5/a",
        "$delayed/5/$distkv/replay/x",
    ] {
        assert_eq!(Delay::of(topic), (Delay::Malformed, topic));
    }
}

#[test]
fn those_of_one_time_come_in_the_order_of_their_numbers_and_none_too_early() {
    let now = clock::now();
    let later = now + Duration::from_secs(1);
    let delayed =
        waiting([(later, message(1, "a", "c")), (now, message(3, "a", "c")), (now, message(2, "a", "c"))]);
    assert_eq!(delayed.begin(now).map(|message| message.number), Ok(2));
    assert_eq!(delayed.begin(now).map(|message| message.number), Ok(3));
    assert_eq!(delayed.begin(now).map(|message| message.number), Err(Some(later)));
    assert_eq!(delayed.begin(later).map(|message| message.number), Ok(1));
    assert_eq!(delayed.begin(later).map(|message| message.number), Err(None));
}

#[test]
fn what_is_being_published_still_counts_until_it_is_done() {
    let now = clock::now();
    let delayed = waiting([(now, message(1, "ab", "c"))]);
    let records = Records::new(Arc::new(crate::hooks::memory::NoLog));
    delayed.begin(now).unwrap();
    assert_eq!(delayed.amount(), (1, 7));
    delayed.put_off(1, now);
    assert_eq!(delayed.begin(now).map(|message| message.number), Ok(1));
    delayed.end(1, &records);
    assert_eq!(delayed.amount(), (0, 0));
    delayed.put_off(1, now);
    assert_eq!(delayed.begin(now).map(|message| message.number), Err(None));
}

#[test]
fn a_list_is_filtered_and_comes_in_pages() {
    let now = clock::now();
    let many = (1..=3000).map(|number| {
        let (topic, client) = if number % 1000 == 0 { ("rare/x", "odd") } else { ("often", "even") };
        (now, message(number, topic, client))
    });
    let delayed = waiting(many);
    let page = delayed.list(&Query { limit: 2, ..Query::default() });
    assert_eq!((numbers(&page), page.more), (vec![1, 2], true));
    let page = delayed.list(&Query { after: Some(2998), ..Query::default() });
    assert_eq!((numbers(&page), page.more), (vec![2999, 3000], false));
    let rare = Query { topic: Some("rare/+".into()), limit: 2, ..Query::default() };
    let page = delayed.list(&rare);
    assert_eq!((numbers(&page), page.more), (vec![1000, 2000], true));
    let page = delayed.list(&Query { after: Some(2000), ..rare });
    assert_eq!((numbers(&page), page.more), (vec![3000], false));
    let odd = Query { client: Some("odd".into()), ..Query::default() };
    assert_eq!(numbers(&delayed.list(&odd)), [1000, 2000, 3000]);
    assert_eq!(delayed.list(&Query::default()).items.len(), PAGE_MAX);
}
