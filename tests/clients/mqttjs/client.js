// A client on MQTT.js whose messages wait in queues, so that a scenario reads as a dialogue.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const mqtt = require('mqtt')

const SOON = 30000
const PROTOCOLS = {
  3.1: { protocolId: 'MQIsdp', protocolVersion: 3 },
  '3.1.1': { protocolId: 'MQTT', protocolVersion: 4 },
  5: { protocolId: 'MQTT', protocolVersion: 5 }
}

// Where the broker is: TRANSPORT is mqtt, mqtts, ws or wss, the last two at the path /mqtt; CA is a file.
function broker(port, version, transport = 'mqtt', ca = undefined) {
  return {
    protocol: transport, path: '/mqtt', ca: ca && fs.readFileSync(ca), host: '127.0.0.1', port, ...PROTOCOLS[version]
  }
}

// A queue of what came and of who waits for it.
class Queue {
  items = []
  waiting = []

  put(item) {
    const waiter = this.waiting.shift()
    if (waiter) waiter(item)
    else this.items.push(item)
  }

  async take(what) {
    if (this.items.length > 0) return this.items.shift()
    let timer
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), SOON)
    })
    try {
      return await Promise.race([new Promise((resolve) => this.waiting.push(resolve)), late])
    } finally {
      clearTimeout(timer)
    }
  }
}

class Client {
  messages = new Queue()
  // The same messages as packets, under their whole topic.
  deliveries = new Queue()
  ends = new Queue()
  // DISCONNECT packets from the server.
  goodbyes = new Queue()

  // Who is not clean leaves a session, which in MQTT 5 lasts an hour.
  static async connect(broker, clientId, options = {}) {
    const self = new Client()
    const properties = options.clean === false ? { sessionExpiryInterval: 3600 } : {}
    const lasting = broker.protocolVersion === 5 ? { properties: { ...properties, ...options.properties } } : {}
    self.client = mqtt.connect({
      clientId, clean: true, reconnectPeriod: 0, resubscribe: false, ...broker, ...options, ...lasting
    })
    self.client.on('message', (topic, payload, packet) => {
      self.messages.put([topic, payload, packet.qos, packet.retain])
      self.deliveries.put({ ...packet, topic })
    })
    self.client.on('disconnect', (packet) => self.goodbyes.put(packet))
    self.client.on('close', () => self.ends.put('close'))
    const connack = await new Promise((resolve, reject) => {
      self.client.once('connect', resolve)
      self.client.once('error', reject)
    })
    self.sessionPresent = connack.sessionPresent
    self.connack = connack
    return self
  }

  // `options` are those of MQTT 5 under the names of MQTT.js, such as `nl`.
  async subscribe(filter, qos, options = {}) {
    const granted = await this.client.subscribeAsync(filter, { qos, ...options })
    assert.deepEqual(granted.map((grant) => grant.qos), [qos])
  }

  publish(topic, payload, qos = 0, retain = false, properties = undefined) {
    return this.client.publishAsync(topic, payload, { qos, retain, ...(properties && { properties }) })
  }

  async expect(topic, payload, qos, retain) {
    const found = await this.messages.take(`${topic} ${payload.toString().slice(0, 40)}`)
    assert.deepEqual(found, [topic, Buffer.from(payload), qos, retain])
  }

  // Messages 0, 1, ... which alternate between QoS 1 and 2. The order is promised within each QoS: MQTT.js shows a
  // message of QoS 2 when PUBREL has come.
  async expectInOrder(topic, count) {
    const found = []
    const wanted = []
    for (let number = 0; number < count; number++) {
      found.push(await this.messages.take(`${topic} ${number}`))
      wanted.push([topic, Buffer.from(`${number}`), 1 + (number % 2), false])
    }
    const byQos = (a, b) => a[2] - b[2]
    assert.deepEqual(found.sort(byQos), wanted.sort(byQos))
  }

  disconnect() {
    return this.client.endAsync()
  }

  // Ends the connection without DISCONNECT.
  vanish() {
    this.client.stream.destroy()
    return this.ends.take('the end of the connection')
  }
}

module.exports = { SOON, Client, Queue, broker }
