// What there is only in MQTT 5, with MQTT.js: node mqtt5.js PORT SCENARIO [TRANSPORT [CA]]
//
// TRANSPORT is mqtt, mqtts, ws or wss, the last two at the path /mqtt; CA is a file. A scenario ends with exit code 0, or with
// the reason on standard error. The scenarios are those of ../paho_mqtt5.py, and tests/it/clients.rs runs both.

const assert = require('node:assert/strict')
const { setTimeout: pause } = require('node:timers/promises')
const { Client: AnyClient, Queue, broker: brokerAt } = require('./client')

const [port, scenario, transport, ca] = process.argv.slice(2)
const broker = brokerAt(port, '5', transport, ca)
const Client = { connect: (clientId, options) => AnyClient.connect(broker, clientId, options) }

const next = (client) => client.deliveries.take('a message')

// Publishes to a topic that this client is subscribed to: this must be the next message.
let nothings = 0
async function expectNothingBefore(client, topic) {
  const text = `nothing before ${nothings++}`
  await client.publish(topic, text, 1)
  assert.equal((await next(client)).payload.toString(), text)
}

function expectPacket(packet, topic, payload, qos, retain) {
  const { topic: its, payload: has } = packet
  assert.deepEqual([its, has.toString(), packet.qos, packet.retain], [topic, payload, qos, retain])
}

// Publishes: the reason in PUBACK or PUBREC, which MQTT.js shows its user only if it is an error.
async function reason(client, topic, qos) {
  const acknowledgements = new Queue()
  const note = (packet) => ['puback', 'pubrec'].includes(packet.cmd) && acknowledgements.put(packet.reasonCode ?? 0)
  client.client.on('packetreceive', note)
  const told = await client.publish(topic, 'x', qos).then(() => 0, (error) => error.code)
  client.client.off('packetreceive', note)
  const found = await acknowledgements.take('an acknowledgement')
  assert.equal(told, found < 0x80 ? 0 : found)
  return found
}

const scenarios = {
  async properties_arrive_as_they_were_sent() {
    const publisher = await Client.connect('publisher')
    const early = await Client.connect('early')
    await early.subscribe('#', 2)
    const properties = {
      payloadFormatIndicator: true, contentType: 'text/plain; charset=utf-8', responseTopic: 'answer/here',
      correlationData: Buffer.from([...Array(256).keys()]), userProperties: { b: ['1', '2'], a: 'x', Größe: '' }
    }
    for (const qos of [0, 1, 2]) {
      await publisher.publish('some/topic', 'x', qos, true, properties)
      const late = await Client.connect(`late${qos}`)
      await late.subscribe('some/topic', qos)
      for (const reader of [early, late]) {
        const found = (await next(reader)).properties
        assert.deepEqual({ ...found, userProperties: { ...found.userProperties } }, properties)
      }
    }
    await publisher.publish('some/topic', 'bare', 1)
    assert.equal((await next(early)).properties, undefined)
  },

  async a_request_is_answered() {
    const asking = await Client.connect('asking')
    const answering = await Client.connect('answering')
    await answering.subscribe('service/double', 1)
    await asking.subscribe('answers/asking', 1)
    for (let number = 0; number < 20; number++) {
      const properties = { responseTopic: 'answers/asking', correlationData: Buffer.from(`${number}`) }
      await asking.publish('service/double', `${number}`, 1, false, properties)
    }
    for (let number = 0; number < 20; number++) {
      const { payload, properties } = await next(answering)
      const { responseTopic, correlationData } = properties
      await answering.publish(responseTopic, `${2 * Number(payload)}`, 1, false, { correlationData })
    }
    for (let number = 0; number < 20; number++) {
      const { payload, properties } = await next(asking)
      assert.equal(payload.toString(), `${2 * number}`)
      assert.equal(properties.correlationData.toString(), `${number}`)
    }
  },

  async a_message_expires() {
    const publisher = await Client.connect('publisher')
    let keeper = await Client.connect('keeper', { clean: false })
    await keeper.subscribe('queue/#', 1)
    await keeper.disconnect()
    await publisher.publish('queue/short', 'x', 1, false, { messageExpiryInterval: 1 })
    await publisher.publish('queue/long', 'x', 1, false, { messageExpiryInterval: 1000 })
    await publisher.publish('queue/kept', 'x', 1, true, { messageExpiryInterval: 1 })
    await publisher.publish('queue/none', 'x', 1)
    // The time itself is what is tested.
    await pause(2500)
    keeper = await Client.connect('keeper', { clean: false })
    const [long, none] = [await next(keeper), await next(keeper)]
    assert.deepEqual([long.topic, none.topic], ['queue/long', 'queue/none'])
    const left = long.properties.messageExpiryInterval
    assert(left > 900 && left <= 998, `${left} s are left`)
    assert.equal(none.properties, undefined)
    await keeper.subscribe('queue/#', 1)
    await expectNothingBefore(keeper, 'queue/end')
  },

  async a_session_expires() {
    const short = { clean: false, properties: { sessionExpiryInterval: 1 } }
    await (await Client.connect('short', short)).disconnect()
    const long = await Client.connect('long', short)
    await long.client.endAsync(false, { properties: { sessionExpiryInterval: 1000 } })
    // The time itself is what is tested.
    await pause(2500)
    for (const [name, present] of [['short', false], ['long', true]]) {
      const client = await Client.connect(name, { clean: false })
      assert.equal(client.sessionPresent, present, name)
      await client.client.endAsync(false, { properties: { sessionExpiryInterval: 0 } })
      assert.equal((await Client.connect(name, { clean: false })).sessionPresent, false, name)
    }
  },

  async identifiers_tell_subscriptions_apart() {
    const client = await Client.connect('client')
    const publisher = await Client.connect('publisher')
    await client.subscribe('a/b', 0, { properties: { subscriptionIdentifier: 1 } })
    await client.subscribe('a/+', 1, { properties: { subscriptionIdentifier: 268435455 } })
    await client.subscribe('#', 2)
    await client.subscribe('c', 2, { properties: { subscriptionIdentifier: 7 } })
    for (const [topic, identifiers] of [['a/b', [1, 268435455]], ['a/c', [268435455]], ['c', [7]], ['d', []]]) {
      await publisher.publish(topic, 'x', 2)
      const message = await next(client)
      expectPacket(message, topic, 'x', 2, false)
      const found = [message.properties?.subscriptionIdentifier ?? []].flat()
      assert.deepEqual(found.sort((a, b) => a - b), identifiers)
    }
  },

  async no_local_keeps_own_messages_away() {
    const client = await Client.connect('client')
    const other = await Client.connect('other')
    await client.subscribe('room', 1, { nl: true })
    await client.subscribe('end', 1)
    await client.publish('room', 'own', 1)
    await other.publish('room', 'foreign', 1)
    expectPacket(await next(client), 'room', 'foreign', 1, false)
    await expectNothingBefore(client, 'end')
  },

  async retain_as_published_keeps_the_flag() {
    const asPublished = await Client.connect('one')
    const asUsual = await Client.connect('two')
    const publisher = await Client.connect('publisher')
    await asPublished.subscribe('kept', 1, { rap: true })
    await asUsual.subscribe('kept', 1)
    for (const retain of [true, false]) {
      await publisher.publish('kept', 'x', 1, retain)
      expectPacket(await next(asPublished), 'kept', 'x', 1, retain)
      expectPacket(await next(asUsual), 'kept', 'x', 1, false)
    }
  },

  async retain_handling_says_when_there_is_a_replay() {
    const publisher = await Client.connect('publisher')
    await publisher.publish('kept', 'x', 1, true)
    // What a first SUBSCRIBE brings, and what its repetition does.
    for (const [rh, replays] of [[0, [true, true]], [1, [true, false]], [2, [false, false]]]) {
      const client = await Client.connect(`client${rh}`)
      await client.subscribe('end', 1)
      for (const replayed of replays) {
        await client.subscribe('kept', 1, { rh })
        if (replayed) expectPacket(await next(client), 'kept', 'x', 1, true)
        await expectNothingBefore(client, 'end')
      }
    }
  },

  async topic_aliases_go_both_ways() {
    // MQTT.js fills in the topics that aliases stand for, and gives out aliases by itself.
    const client = await Client.connect('client', { properties: { topicAliasMaximum: 3 } })
    const publisher = await Client.connect('publisher', { autoAssignTopicAlias: true })
    const came = { bare: 0, whole: 0 }
    client.client.on('packetreceive', (packet) => {
      if (packet.cmd === 'publish') came[packet.topic === '' ? 'bare' : 'whole'] += 1
    })
    let bare = 0
    publisher.client.on('packetsend', (packet) => {
      if (packet.cmd === 'publish' && packet.topic.toString() === '') bare += 1
    })
    await client.subscribe('alias/#', 1)
    for (let number = 0; number < 30; number++) {
      const topic = `alias/${number % 3}`
      await publisher.publish(topic, `${number}`, number % 2)
      expectPacket(await next(client), topic, `${number}`, number % 2, false)
    }
    assert(bare >= 20, `${bare} topics were spared towards the server`)
    assert(came.bare >= 20, `${came.bare} topics were spared towards the client`)
    // More topics than aliases.
    for (let number = 0; number < 300; number++) {
      const topic = `alias/${number % 30}`
      await publisher.publish(topic, `${number}`, 1)
      expectPacket(await next(client), topic, `${number}`, 1, false)
    }
  },

  async a_will_waits_for_its_delay() {
    const watcher = await Client.connect('watcher')
    await watcher.subscribe('will/#', 1)
    const will = (topic, payload) => ({
      topic, payload: Buffer.from(payload), qos: 1, retain: false,
      properties: { willDelayInterval: 2, contentType: 'text/plain', userProperties: { b: '1', a: '2' } }
    })
    const lost = await Client.connect('lost', { clean: false, will: will('will/lost', 'gone') })
    const back = await Client.connect('back', { clean: false, will: will('will/back', 'must not come') })
    const start = performance.now()
    await lost.vanish()
    await back.vanish()
    assert((await Client.connect('back', { clean: false })).sessionPresent)
    const message = await next(watcher)
    const took = performance.now() - start
    expectPacket(message, 'will/lost', 'gone', 1, false)
    assert(took >= 1999, `it came after ${took} ms`)
    assert.equal(message.properties.contentType, 'text/plain')
    assert.deepEqual({ ...message.properties.userProperties }, { b: '1', a: '2' })
    assert.equal(Object.keys(message.properties).length, 2)
    await expectNothingBefore(watcher, 'will/end')
  },

  async reasons_are_told() {
    const client = await Client.connect('client')
    for (const qos of [1, 2]) assert.equal(await reason(client, 'nobody/listens', qos), 0x10)
    // Nobody may speak in the broker's name.
    for (const qos of [1, 2]) assert.equal(await reason(client, '$SYS/broker/version', qos), 0x87)
    await client.subscribe('listens', 1)
    assert.equal(await reason(client, 'listens', 1), 0)
    const unsuback = new Queue()
    client.client.on('packetreceive', (packet) => packet.cmd === 'unsuback' && unsuback.put(packet.granted))
    // MQTT.js takes 0x11 for an error.
    await client.client.unsubscribeAsync(['listens', 'other']).catch(() => {})
    assert.deepEqual(await unsuback.take('UNSUBACK'), [0, 0x11])
  },

  async the_server_says_why_it_disconnects() {
    const goodbye = async (client) => (await client.goodbyes.take('DISCONNECT')).reasonCode
    const first = await Client.connect('twin')
    const second = await Client.connect('twin')
    assert.equal(await goodbye(first), 0x8e)
    // It is silent for longer than its keep alive. (MQTT.js must not give up by itself at the same moment.)
    const mute = await Client.connect('mute', { keepalive: 1 })
    mute.client.keepaliveManager.destroy()
    assert.equal(await goodbye(mute), 0x8d)
    // Past the checks of MQTT.js: a filter that is none.
    second.client._sendPacket({ cmd: 'subscribe', messageId: 9, subscriptions: [{ topic: '$share/g/x', qos: 0, nl: true }] })
    assert.equal(await goodbye(second), 0x82)
  },

  // Whole windows of both sides, over and over.
  async no_more_are_under_way_than_the_receive_maximum() {
    const slow = await Client.connect('slow', { properties: { receiveMaximum: 3 } })
    const publisher = await Client.connect('publisher')
    await slow.subscribe('flow', 2)
    const sent = []
    for (let number = 0; number < 500; number++) sent.push(publisher.publish('flow', `${number}`, 1 + (number % 2)))
    await slow.expectInOrder('flow', 500)
    await Promise.all(sent)
  },

  async a_shared_subscription_is_shared() {
    const members = []
    for (let number = 0; number < 3; number++) {
      const member = await Client.connect(`member${number}`)
      await member.subscribe('$share/group/work/#', 1)
      members.push(member)
    }
    const publisher = await Client.connect('publisher')
    for (let number = 0; number < 300; number++) await publisher.publish('work/x', `${number}`, 1)
    const all = []
    for (const member of members) {
      await member.subscribe('end', 1)
      await publisher.publish('end', 'end', 1)
      const part = []
      for (let message = await next(member); message.topic === 'work/x'; message = await next(member)) {
        part.push(Number(message.payload))
      }
      await member.client.unsubscribeAsync('end')
      assert(part.length >= 50, `${part.length} of 300`)
      all.push(...part)
    }
    assert.deepEqual(all.sort((a, b) => a - b), [...Array(300).keys()])
  },

  async connack_assigns_a_name() {
    const names = new Set()
    for (let number = 0; number < 3; number++) {
      names.add((await Client.connect('')).connack.properties.assignedClientIdentifier)
    }
    assert.equal(names.size, 3)
    assert(!names.has(undefined))
  }
}

scenarios[scenario]().then(
  () => {
    console.log(`${scenario} with MQTT.js: ok`)
    process.exit(0)
  },
  (error) => {
    console.error(error)
    process.exit(1)
  }
)
