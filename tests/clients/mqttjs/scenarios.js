// MQTT.js against a broker: node scenarios.js PORT VERSION SCENARIO [TRANSPORT [CA]]
//
// VERSION is 3.1, 3.1.1 or 5. TRANSPORT is mqtt, mqtts, ws or wss, the last two at the path /mqtt; CA is a file. A scenario
// ends with exit code 0, or with the reason on standard error. The scenarios are those of ../paho_scenarios.py, and
// tests/it/clients.rs runs both.

const assert = require('node:assert/strict')
const { setTimeout: pause } = require('node:timers/promises')
const client = require('./client')

const [port, version, scenario, transport, ca] = process.argv.slice(2)
const broker = client.broker(port, version, transport, ca)
const Client = { connect: (clientId, options) => client.Client.connect(broker, clientId, options) }

const scenarios = {
  // [MQTT-3.8.4-6, 7.0.0-2, 7.1.1-1]
  async every_qos() {
    const publisher = await Client.connect('publisher')
    for (const granted of [0, 1, 2]) {
      const subscriber = await Client.connect(`subscriber${granted}`)
      await subscriber.subscribe('qos/+/#', granted)
      for (const sent of [0, 1, 2]) {
        for (let number = 0; number < 40; number++) await publisher.publish(`qos/${sent}/x`, `${number}`, sent)
      }
      for (const sent of [0, 1, 2]) {
        for (let number = 0; number < 40; number++) {
          await subscriber.expect(`qos/${sent}/x`, `${number}`, Math.min(sent, granted), false)
        }
      }
      await subscriber.disconnect()
    }
    await publisher.disconnect()
  },

  async retained() {
    const everyByte = Buffer.alloc(256 * 40, Buffer.from([...Array(256).keys()]))
    const publisher = await Client.connect('publisher')
    const early = await Client.connect('early')
    await early.subscribe('kept/#', 1)
    await publisher.publish('kept/a', everyByte, 1, true)
    await publisher.publish('kept/b', 'gone', 2, true)
    await publisher.publish('kept/b', '', 2, true)
    await publisher.publish('kept/c', 'not kept', 1)
    await early.expect('kept/a', everyByte, 1, false)
    await early.expect('kept/b', 'gone', 1, false)
    await early.expect('kept/b', '', 1, false)
    await early.expect('kept/c', 'not kept', 1, false)
    const late = await Client.connect('late')
    await late.subscribe('kept/#', 2)
    await late.expect('kept/a', everyByte, 1, true)
    await publisher.publish('kept/end', 'end', 1)
    await late.expect('kept/end', 'end', 1, false)
    // A repeated SUBSCRIBE brings them again.
    await late.subscribe('kept/#', 0)
    await late.expect('kept/a', everyByte, 0, true)
    for (const client of [publisher, early, late]) await client.disconnect()
  },

  async wills() {
    const watcher = await Client.connect('watcher')
    await watcher.subscribe('will/#', 1)
    const polite = await Client.connect('polite', {
      will: { topic: 'will/polite', payload: Buffer.from('must not come'), qos: 1, retain: false }
    })
    await polite.disconnect()
    const lost = await Client.connect('lost', {
      will: { topic: 'will/lost', payload: Buffer.from('gone'), qos: 1, retain: true }
    })
    await lost.vanish()
    await watcher.expect('will/lost', 'gone', 1, false)
    const late = await Client.connect('late')
    await late.subscribe('will/#', 1)
    await late.expect('will/lost', 'gone', 1, true)
    for (const client of [watcher, late]) await client.disconnect()
  },

  async persistent_session() {
    const first = await Client.connect('keeper', { clean: false })
    assert.equal(first.sessionPresent, false)
    await first.subscribe('queue/#', 2)
    await first.disconnect()
    const publisher = await Client.connect('publisher')
    for (let number = 0; number < 300; number++) await publisher.publish('queue/x', `${number}`, 1 + (number % 2))
    const again = await Client.connect('keeper', { clean: false })
    // MQTT 3.1 has no such flag.
    assert(again.sessionPresent || version === '3.1')
    await again.expectInOrder('queue/x', 300)
    await again.disconnect()
    const clean = await Client.connect('keeper')
    assert.equal(clean.sessionPresent, false)
    await publisher.publish('queue/x', 'nobody is subscribed', 1)
    await clean.subscribe('end', 1)
    await publisher.publish('end', 'end', 1)
    await clean.expect('end', 'end', 1, false)
    for (const client of [publisher, clean]) await client.disconnect()
  },

  async takeover() {
    const first = await Client.connect('twin')
    const second = await Client.connect('twin')
    await first.ends.take('the end of the first connection')
    await second.subscribe('twin', 1)
    await second.publish('twin', 'alive', 1)
    await second.expect('twin', 'alive', 1, false)
    await second.disconnect()
  },

  async keep_alive() {
    const client = await Client.connect('pinger', { keepalive: 1 })
    const watcher = await Client.connect('watcher', { keepalive: 0 })
    await client.subscribe('alive', 1)
    // Several times 1.5 keep alives: the time itself is what is tested.
    await pause(4000)
    await watcher.publish('alive', 'yes', 1)
    await client.expect('alive', 'yes', 1, false)
    for (const each of [client, watcher]) await each.disconnect()
  },

  // Leaves a session and retained messages behind for `after_crash`; the server is killed in between.
  async before_crash() {
    const keeper = await Client.connect('keeper', { clean: false })
    await keeper.subscribe('crash/#', 2)
    await keeper.disconnect()
    const publisher = await Client.connect('publisher')
    for (let number = 0; number < 100; number++) await publisher.publish('crash/x', `${number}`, 1 + (number % 2))
    await publisher.publish('kept/x', 'kept', 1, true)
    await publisher.disconnect()
  },

  async after_crash() {
    const keeper = await Client.connect('keeper', { clean: false })
    assert(keeper.sessionPresent || version === '3.1')
    await keeper.expectInOrder('crash/x', 100)
    await keeper.subscribe('kept/#', 1)
    await keeper.expect('kept/x', 'kept', 1, true)
    await keeper.disconnect()
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
