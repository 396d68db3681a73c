//! A masterless, versioned key-value store that every node holds whole. It knows nothing of MQTT.
