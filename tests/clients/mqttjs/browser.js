// A page in Chromium that connects to a broker: node browser.js URL PROFILE
//
// Opens browser.html with a fresh profile in the directory PROFILE, waits until the page shows its two messages, and prints
// what it shows. Everything goes by Chromium's DevTools protocol.

const { spawn } = require('node:child_process')
const path = require('node:path')
const WebSocket = require('ws')

const [url, profile] = process.argv.slice(2)
const SOON = 60000
const page = `file://${path.join(__dirname, 'browser.html')}#${url}`
const chromium = spawn('chromium', [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage', '--ignore-certificate-errors',
  '--remote-debugging-port=0', `--user-data-dir=${profile}`, page
], { stdio: ['ignore', 'ignore', 'pipe'] })

function fail(why) {
  console.error(why)
  chromium.kill('SIGKILL')
  process.exit(1)
}

let said = ''
let shown = ''
setTimeout(() => fail(`no messages in the page, which shows:\n${shown}\nand Chromium says:\n${said}`), SOON)
chromium.on('error', fail)
chromium.on('exit', (code) => fail(`Chromium ended with ${code}:\n${said}`))
chromium.stderr.on('data', async (data) => {
  const before = said
  said += data
  const found = /DevTools listening on (ws:\/\/([^/]+)\/\S+)/
  if (found.test(before) || !found.test(said)) return
  try {
    watch(await pageSocket(said.match(found)[2]))
  } catch (error) {
    fail(error)
  }
})

// The address of the page's debugger.
async function pageSocket(host) {
  for (;;) {
    const targets = await (await fetch(`http://${host}/json`)).json()
    const target = targets.find((target) => target.type === 'page' && target.url.startsWith('file:'))
    if (target) return target.webSocketDebuggerUrl
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

function watch(address) {
  const socket = new WebSocket(address)
  const ask = () => socket.send(JSON.stringify({
    id: 1, method: 'Runtime.evaluate', params: { expression: 'document.getElementById("received")?.textContent ?? ""' }
  }))
  socket.on('error', fail)
  socket.on('open', ask)
  socket.on('message', (data) => {
    shown = JSON.parse(data).result?.result?.value ?? ''
    if (shown.includes('failed:')) fail(shown)
    if (shown.trim().split('\n').length < 2) {
      setTimeout(ask, 20)
      return
    }
    console.log(shown)
    chromium.removeAllListeners('exit')
    chromium.on('exit', () => process.exit(0))
    chromium.kill('SIGTERM')
  })
}
