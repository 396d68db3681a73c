//! The same with MQTT 5, and what there is only there: subscription identifiers above all, which Home Assistant tells its
//! subscriptions apart by.

scenarios!(
    "5",
    a_repeated_subscribe_replaces_the_identifier,
    an_expired_message_is_replayed_no_more,
    an_unsubscribe_forgets_the_identifier,
    connack_offers_what_home_assistant_uses,
    identifiers_come_with_retained_and_live_messages,
    no_topic_alias_is_sent,
    one_copy_carries_the_identifiers_of_all_filters
);
