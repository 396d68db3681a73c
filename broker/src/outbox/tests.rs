//! Tests of outboxes: order, limits, wake-ups, marks.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use proptest::prelude::*;

use super::*;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn outbox(limits: &Limits) -> (Outbox, Arc<Budget>) {
    let budget = Arc::new(Budget::new(limits.outboxes_bytes));
    let outbox = Outbox::new(Arc::clone(&budget));
    outbox.open(limits, Taste::default(), b"");
    (outbox, budget)
}

fn small(bytes: &[u8]) -> Frame<'_> {
    Frame { head: bytes, id: None, properties: &[], tail: &[], shared: None, payload: bytes.len() }
}

/// Appends a message if there is room for it.
fn publish(outbox: &mut Appender<'_>, frame: &Frame<'_>, dirty: &mut Dirty) -> bool {
    let len = frame.head.len() + frame.tail.len() + frame.shared.map_or(0, Bytes::len);
    let room = outbox.has_room(len + if frame.id.is_some() { 2 } else { 0 });
    if room {
        outbox.put(frame, dirty);
    }
    room
}

fn take(outbox: &Outbox) -> Option<Batch> {
    let mut batch = Batch::default();
    let mut cx = Context::from_waker(Waker::noop());
    outbox.poll_take(&mut batch, &mut cx).is_ready().then_some(batch)
}

fn contents(batch: &Batch) -> Vec<u8> {
    batch.slices().iter().flat_map(|slice| slice.to_vec()).collect()
}

#[test]
fn copied_and_shared_pieces_leave_in_the_order_in_which_they_came() {
    let (outbox, _) = outbox(&Limits::default());
    let mut dirty = Dirty::default();
    let body = Bytes::from_static(b"PAYLOAD");
    publish(&mut outbox.lock(), &small(b"one"), &mut dirty);
    publish(
        &mut outbox.lock(),
        &Frame {
            head: b"two",
            id: Some(0x4142),
            properties: b"",
            tail: b"",
            shared: Some(&body),
            payload: 7,
        },
        &mut dirty,
    );
    outbox.lock().control(b"three", 1, &mut dirty);
    let batch = take(&outbox).unwrap();
    assert_eq!(contents(&batch), b"onetwoABPAYLOADthree");
    assert_eq!(batch.counts, Counts { packets: 3, publishes: 2, payload_bytes: 10 });
    assert!(take(&outbox).is_none());
}

#[test]
fn a_sleeping_connection_is_woken_once_for_many_messages_and_not_by_itself() {
    let (outbox, _) = outbox(&Limits::default());
    let mut dirty = Dirty::default();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    assert!(outbox.poll_take(&mut Batch::default(), &mut cx).is_pending());
    for _ in 0..3 {
        publish(&mut outbox.lock(), &small(b"x"), &mut dirty);
    }
    assert_eq!(woken.0.load(Ordering::Relaxed), 0);
    dirty.wake_all(None);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);

    take(&outbox).unwrap();
    assert!(outbox.poll_take(&mut Batch::default(), &mut cx).is_pending());
    publish(&mut outbox.lock(), &small(b"x"), &mut dirty);
    dirty.wake_all(Some(&waker));
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
}

#[test]
fn the_mark_is_taken_with_the_bytes() {
    let (outbox, _) = outbox(&Limits::default());
    let mut dirty = Dirty::default();
    let mut appender = outbox.lock();
    appender.control(b"a", 1, &mut dirty);
    appender.mark(Mark(7));
    appender.mark(Mark(3));
    drop(appender);
    assert_eq!(take(&outbox).unwrap().mark, Mark(7));
    outbox.lock().control(b"b", 1, &mut dirty);
    assert_eq!(take(&outbox).unwrap().mark, Mark(0));
}

#[test]
fn a_full_outbox_refuses_messages_but_an_empty_one_takes_any() {
    let limits = Limits { outbox_bytes: 10, outbox_messages: 3, ..Limits::default() };
    let (outbox, _) = outbox(&limits);
    let mut dirty = Dirty::default();
    assert!(publish(&mut outbox.lock(), &small(&[0; 1000]), &mut dirty));
    assert!(!publish(&mut outbox.lock(), &small(b"x"), &mut dirty));
    outbox.lock().control(b"ack", 1, &mut dirty);
    let batch = take(&outbox).unwrap();
    assert!(!publish(&mut outbox.lock(), &small(b"x"), &mut dirty), "what was taken is not yet written");
    drop(batch);
    assert!(take(&outbox).is_none());
    for _ in 0..3 {
        assert!(publish(&mut outbox.lock(), &small(b"x"), &mut dirty));
    }
    assert!(!publish(&mut outbox.lock(), &small(b"x"), &mut dirty), "three messages are the limit");
}

#[test]
fn all_outboxes_share_one_budget_and_give_it_back() {
    let limits = Limits { outboxes_bytes: 2 * RESERVED_STEP, ..Limits::default() };
    let (first, budget) = outbox(&limits);
    let second = Outbox::new(Arc::clone(&budget));
    second.open(&limits, Taste::default(), b"");
    let mut dirty = Dirty::default();
    let message = [0; 60 << 10];
    assert!(publish(&mut first.lock(), &small(&message), &mut dirty));
    assert!(publish(&mut first.lock(), &small(&message), &mut dirty));
    assert!(!publish(&mut second.lock(), &small(&message), &mut dirty));
    assert!(
        publish(&mut second.lock(), &small(&message[..FREE_BYTES]), &mut dirty),
        "the first bytes are free"
    );
    take(&first).unwrap();
    assert!(take(&first).is_none());
    assert_eq!(budget.used(), 0);
    assert!(publish(&mut second.lock(), &small(&message), &mut dirty));
    second.shut();
    assert_eq!(budget.used(), 0);
}

#[test]
fn a_takeover_ends_at_once_and_a_shutdown_after_what_waits() {
    let (outbox, _) = outbox(&Limits::default());
    let mut cx = Context::from_waker(Waker::noop());
    let mut batch = Batch::default();
    outbox.lock().control(b"x", 1, &mut Dirty::default());
    outbox.close(Close::Shutdown);
    assert_eq!(outbox.poll_take(&mut batch, &mut cx), Poll::Ready(Taken::Batch));
    assert!(outbox.poll_close(&mut cx).is_pending());
    batch = Batch::default();
    assert_eq!(outbox.poll_take(&mut batch, &mut cx), Poll::Ready(Taken::Close(Close::Shutdown)));
    outbox.close(Close::TakenOver);
    outbox.close(Close::Shutdown);
    assert_eq!(outbox.poll_close(&mut cx), Poll::Ready(Close::TakenOver));
}

#[test]
fn a_publisher_waits_for_a_subscriber_once_and_again_only_after_it_caught_up() {
    let limits = Limits { outbox_bytes: 100, ..Limits::default() };
    let (outbox, _) = outbox(&limits);
    let mut dirty = Dirty::default();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(!outbox.lock().presses());
    publish(&mut outbox.lock(), &small(&[0; 80]), &mut dirty);
    assert!(outbox.lock().presses());
    assert!(outbox.poll_relief(&mut cx).is_pending());
    outbox.give_up();
    assert!(outbox.poll_relief(&mut cx).is_ready());
    assert!(!outbox.lock().presses(), "nobody waits twice for a stuck one");
    take(&outbox).unwrap();
    assert!(take(&outbox).is_none());
    publish(&mut outbox.lock(), &small(&[0; 80]), &mut dirty);
    assert!(outbox.lock().presses(), "it has caught up since");
}

#[test]
fn buffers_of_written_batches_are_used_again_and_an_empty_outbox_has_none() {
    let (outbox, _) = outbox(&Limits::default());
    let mut dirty = Dirty::default();
    outbox.lock().control(&[1; 2000], 1, &mut dirty);
    let mut batch = take(&outbox).unwrap();
    assert_eq!(outbox.state.lock().bytes.capacity(), 0);
    batch.advance(2000);
    assert!(batch.is_empty());
    dirty.recycle(&mut batch);
    outbox.lock().control(b"x", 1, &mut dirty);
    assert!(outbox.state.lock().bytes.capacity() >= 2000);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_batch_is_written_exactly_in_steps_of_any_size(
        pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..20), prop::option::of(1_usize..50)), 1..150),
        steps in prop::collection::vec(1_usize..200, 1..50),
    ) {
        let (outbox, _) = outbox(&Limits::default());
        let mut dirty = Dirty::default();
        let mut expected = Vec::new();
        for (head, shared) in &pieces {
            let shared = shared.map(|len| Bytes::from(vec![b'#'; len]));
            expected.extend_from_slice(head);
            expected.extend_from_slice(shared.as_deref().unwrap_or_default());
            outbox.lock().put(&Frame { head, id: None, properties: &[], tail: &[], shared: shared.as_ref(), payload: 0 }, &mut dirty);
        }
        let mut written = Vec::new();
        let Some(mut batch) = take(&outbox) else {
            prop_assert!(expected.is_empty());
            return Ok(());
        };
        let mut steps = steps.iter().cycle();
        while !batch.is_empty() {
            let offered = contents(&batch);
            prop_assert!(!offered.is_empty());
            let step = (*steps.next().unwrap()).min(offered.len());
            written.extend_from_slice(&offered[..step]);
            batch.advance(step);
        }
        prop_assert_eq!(written, expected);
    }
}
