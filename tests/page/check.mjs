// Looks at status pages with the tools their readers have: a validator of HTML, and Chromium with axe, the checker of
// WCAG rules, on a phone and on a desktop, in light and in dark.
//
//   node check.mjs NAME=URL ...                prints what is wrong, a line each, and fails if anything is
//   node check.mjs --pictures DIR NAME=URL     also writes DIR/NAME-{phone,desktop}-{light,dark}.webp
//
// Beside the page it reads what is made for programs: the feed, the badge (xmllint) and /api/v2 (the npm client
// statuspage.io). A URL of a file is only looked at. The pictures of docs/ show a page with 90 days behind it:
//
//   OUTPOST_PAGE_SAMPLE=target/page.html cargo test -p outpost --lib twenty_targets
//   node tests/page/check.mjs --pictures docs status-page=file://$PWD/target/page.html
//
// The packages are those of target/node (scripts/setup test); CHROMIUM names the browser.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import { argv, env, exit } from 'node:process';

const require = createRequire(resolve(env.NODE_PLACE ?? 'target/node', 'package.json'));
const puppeteer = require('puppeteer-core');
const { HtmlValidate } = require('html-validate');
const { Statuspage } = require('statuspage.io');
const axe = readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');

const SIZES = { phone: [320, 844], desktop: [1280, 900] };
const PAGE_MAX = 14600;

const args = argv.slice(2);
const pictures = args[0] === '--pictures' ? args.splice(0, 2)[1] : undefined;
const wrong = [];

// The letter of the standard, accessibility included; how markup is styled is ours.
const validator = new HtmlValidate({ extends: ['html-validate:standard', 'html-validate:a11y'] });

async function validate(name, url) {
  const answer = await fetch(url, { headers: { accept: 'text/html' } });
  const html = await answer.text();
  const head = [...answer.headers].reduce((sum, [key, value]) => sum + key.length + value.length + 4, 32);
  if (html.length + head > PAGE_MAX) wrong.push(`${name}: ${html.length + head} bytes`);
  const report = await validator.validateString(html);
  for (const { messages } of report.results) {
    for (const { line, column, message, ruleId } of messages) {
      wrong.push(`${name}: ${line}:${column}: ${message} (${ruleId})`);
    }
  }
}

// What other programs make of the answers that are for them.
async function programs(name, url) {
  const client = new Statuspage('outpost');
  client.setApiUrl(new URL(url).origin);
  const { page, status, components } = await client.api.getSummary();
  const good = ['none', 'minor', 'major', 'critical'].includes(status.indicator) && page.time_zone === 'Etc/UTC';
  if (!good || !components.length) wrong.push(`${name}: summary.json: ${JSON.stringify({ page, status, components })}`);
  const listed = await client.api.getComponents();
  if (listed.components.length !== components.length) wrong.push(`${name}: components.json differs from summary.json`);
  if ((await client.api.getStatus()).status.indicator !== status.indicator) wrong.push(`${name}: status.json differs`);
  for (const { incidents } of [await client.api.incidents.getAll(), await client.api.incidents.getUnresolved()]) {
    if (!Array.isArray(incidents)) wrong.push(`${name}: incidents.json has no incidents`);
  }
  const { scheduled_maintenances: planned } = await client.api.scheduledMaintenances.getUpcoming();
  if (!Array.isArray(planned)) wrong.push(`${name}: upcoming.json has no scheduled_maintenances`);
  for (const path of ['/feed.atom', '/badge.svg', `/badge/${components[0].name}.svg`]) {
    const answer = await fetch(new URL(path, url));
    const text = await answer.text();
    if (answer.status !== 200) wrong.push(`${name}: ${path}: ${answer.status} ${text}`);
    const rules = path.endsWith('.atom') ? ['--relaxng', 'tests/page/atom.rng'] : [];
    try {
      execFileSync('xmllint', ['--noout', ...rules, '-'], { input: text, stdio: ['pipe', 'pipe', 'pipe'] });
    } catch (error) {
      wrong.push(`${name}: ${path}: ${error.stderr} ${text}`);
    }
  }
}

async function look(browser, name, url, size, scheme) {
  const what = `${name}, ${size}, ${scheme}`;
  const page = await browser.newPage();
  const [width, height] = SIZES[size];
  await page.setViewport({ width, height, deviceScaleFactor: 1 });
  await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }]);
  // What the policy of the page blocks, and what fails to load, the browser says here.
  page.on('console', (line) => {
    // A file has no server beside it that would give its icon.
    if (!url.startsWith('file:')) wrong.push(`${what}: console: ${line.text()}`);
  });
  page.on('request', (request) => {
    const path = new URL(request.url()).pathname;
    if (request.url() !== url && path !== '/' && path !== '/favicon.ico') wrong.push(`${what}: asks for ${request.url()}`);
  });
  await page.goto(url, { waitUntil: 'load' });
  if (pictures) {
    await page.screenshot({ path: `${pictures}/${name}-${size}-${scheme}.webp`, quality: 60 });
  }
  const seen = await page.evaluate(() => ({
    overflow: document.documentElement.scrollWidth - innerWidth,
    background: getComputedStyle(document.body).backgroundColor,
  }));
  if (seen.overflow > 0) wrong.push(`${what}: ${seen.overflow} pixels wider than the window`);
  // The policy holds for us as well: axe comes in by the debugger, which is not of the page.
  await page.evaluate(axe);
  const { violations, incomplete, passes } = await page.evaluate(() =>
    window.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  for (const { id, help, nodes } of [...violations, ...incomplete]) {
    wrong.push(`${what}: ${id}: ${help}: ${nodes.map((node) => node.html).join(' ')}`);
  }
  if (!passes.some(({ id }) => id === 'color-contrast')) wrong.push(`${what}: no contrast was measured`);
  await page.close();
  return seen.background;
}

const browser = await puppeteer.launch({
  protocolTimeout: 60_000,
  executablePath: env.CHROMIUM ?? execFileSync('sh', ['-c', 'command -v chromium']).toString().trim(),
  // In a container there is no place for its sandbox; the pages are ours.
  args: ['--no-sandbox', '--disable-gpu', '--hide-scrollbars'],
});
for (const argument of args) {
  const [name, url] = argument.split(/=(.*)/s);
  if (!url.startsWith('file:')) await validate(name, url);
  if (name === 'targets') await programs(name, url);
  // One after the other: a browser draws only the page in front.
  for (const size of Object.keys(SIZES)) {
    const light = await look(browser, name, url, size, 'light');
    const dark = await look(browser, name, url, size, 'dark');
    if (light === dark) wrong.push(`${name}: dark is as light`);
  }
}
await browser.close();
wrong.forEach((line) => console.log(line));
exit(wrong.length ? 1 : 0);
