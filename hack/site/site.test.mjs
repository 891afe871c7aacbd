// Opens bin/site in a headless Chromium, which must be installed (hack/debian.sh installs it), and looks at every page.
import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { chromium } from 'playwright-core'

const site = new URL('../../bin/site/', import.meta.url).pathname
const base = '/hssgate/'
const types = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.png': 'image/png', '.svg': 'image/svg+xml', '.woff2': 'font/woff2' }
const pages = readdirSync(site, { recursive: true }).filter((file) => file.endsWith('.html') && file !== '404.html').map((file) => file.replace(/(index)?\.html$/, ''))

// fileOf returns the file that GitHub Pages shows for a path, or undefined.
const fileOf = (path) => [path, path + '.html', join(path, 'index.html')].map((file) => join(site, file)).find((file) => extname(file) && existsSync(file))

let server, browser, origin
const complaints = []
before(async () => {
  server = createServer((request, response) => {
    const path = new URL(request.url, 'http://site').pathname
    const file = path.startsWith(base) && fileOf(path.slice(base.length))
    response.writeHead(file ? 200 : 404, { 'Content-Type': types[extname(file || '')] ?? 'text/plain' })
    response.end(file ? readFileSync(file) : '')
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  origin = `http://127.0.0.1:${server.address().port}${base}`
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] })
})
after(async () => {
  await browser?.close()
  server.close()
  assert.deepEqual(complaints, [])
})

// open opens a page, and notes if the browser complains or loads anything from elsewhere.
async function open(path, options) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 }, ...options })
  const complain = (problem) => complaints.push(`${page.url()}: ${problem}`)
  page.on('pageerror', complain)
  page.on('console', (message) => message.type() === 'error' && complain(message.text()))
  page.on('request', (request) => request.url().startsWith(origin) || request.url().startsWith('data:') || complain('loads ' + request.url()))
  await page.goto(origin + path)
  return page
}

test('links and anchors of all pages lead somewhere', () => {
  assert.ok(pages.length > 50, `${pages.length} pages`)
  const ids = (file) => new Set([...readFileSync(file, 'utf8').matchAll(/ id="([^"]+)"/g)].map(([, id]) => id))
  for (const page of pages) {
    const html = readFileSync(fileOf(page), 'utf8')
    assert.match(html, /<h1 /, `${page} was not rendered`)
    for (const [, link] of html.matchAll(/<a [^>]*href="([^"]+)"/g)) {
      const url = new URL(link, new URL(page, 'http://site' + base))
      if (url.host !== 'site') continue
      const target = url.pathname.startsWith(base) && fileOf(decodeURI(url.pathname.slice(base.length)))
      assert.ok(target, `${page} links to ${link}`)
      if (url.hash) assert.ok(ids(target).has(decodeURIComponent(url.hash.slice(1))), `${page} links to ${link}, which has no such heading`)
    }
  }
})

for (const [what, language, word, heading] of [
  ['an English word', '', 'breaker', 'circuit breaker'],
  ['a field', '', 'minSeverity', 'minSeverity'],
  ['a Chinese word inside of a sentence', 'zh-CN/', '漏洞', '漏洞'],
  ['several Chinese words', 'zh-CN/', '强制模式', '强制模式'],
]) {
  test(`the search finds ${what}`, async () => {
    const page = await open(language)
    await page.locator('.VPNavBarSearch button').click()
    await page.locator('.search-input').fill(word)
    const results = page.locator('.VPLocalSearchBox .result')
    await results.first().waitFor()
    await results.first().click()
    await page.locator('.VPLocalSearchBox').waitFor({ state: 'detached' })
    assert.match(await page.locator('main').innerText(), new RegExp(heading, 'i'))
  })
}

test('every page fits a phone', async () => {
  const page = await open('', { viewport: { width: 390, height: 844 } })
  for (const path of pages) {
    await page.goto(origin + path)
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 390, `${path} is wider than a phone`)
    assert.ok((await page.locator('main h1').innerText()).length > 1, `${path} has no title`)
  }
})

// SCREENSHOTS=FOLDER writes pictures to look at.
const pictures = async () => {
  mkdirSync(process.env.SCREENSHOTS, { recursive: true })
  for (const path of ['', 'contents', 'install', 'reference/configuration', 'reference/policy', 'guides/ci', 'zh-CN/', 'zh-CN/policy']) {
    for (const [name, options] of Object.entries({ light: {}, dark: { colorScheme: 'dark' }, phone: { viewport: { width: 390, height: 844 } } })) {
      const page = await open(path, options)
      await page.screenshot({ path: join(process.env.SCREENSHOTS, `${path.replaceAll('/', '-') || 'home'}-${name}.png`) })
      await page.close()
    }
  }
}
if (process.env.SCREENSHOTS) test('pictures', pictures)
