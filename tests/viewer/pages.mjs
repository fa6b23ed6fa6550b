// Walk through the node's pages as people do, and say what is seen: a request comes as JSON on stdin, the answer goes to
// stdout.
//
// request: { chromium, url, folder, name, password, subject, visits: [{ path, scheme, width, script, until }], clicks: [{ path, button, files, drop }] }
// A visit waits until the page says the words of `until`, if there are any.
// answer:  { pages: [{ path, scheme, width, title, text, buttons, violations, overflow }], clicked: [text], errors, foreign }
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const PATIENCE_MS = 120_000; // volumes are drawn by the CPU here, beside other tests
const SERIOUS = new Set(['serious', 'critical']);

const request = JSON.parse(readFileSync(0, 'utf8'));
const browser = await chromium.launch({ executablePath: request.chromium, args: ['--no-first-run', '--disable-quic', '--enable-unsafe-swiftshader'] });
const answer = { pages: [], clicked: [], errors: [], foreign: [] };
let session; // of the user with a password, who logs in once
try {
  for (const visit of request.visits) answer.pages.push(await look(visit));
  for (const click of request.clicks ?? []) answer.clicked.push(await press(click));
} finally {
  await browser.close();
}
process.stdout.write(JSON.stringify(answer));

async function open({ scheme = 'light', width = 1280, script = true }) {
  const context = await browser.newContext({ colorScheme: scheme, viewport: { width, height: 900 }, javaScriptEnabled: script, storageState: session });
  context.on('console', message => message.type() === 'error' && answer.errors.push(message.text()));
  context.on('weberror', error => answer.errors.push(error.error().message));
  context.on('request', sent => /^https?:/.test(sent.url()) && !sent.url().startsWith(`${request.url}/`) && answer.foreign.push(sent.url()));
  context.setDefaultTimeout(PATIENCE_MS);
  const page = await context.newPage();
  if (request.subject) {
    await page.goto(`${request.url}/login?next=/account`);
    await page.click('main a.button');
    await page.fill('input[name=sub]', request.subject);
    await Promise.all([page.waitForURL(`${request.url}/account`), page.click('button:has-text("Authorize")')]);
  }
  if (request.name && !session) {
    await page.goto(`${request.url}/login`);
    await page.fill('input[name=name]', request.name);
    await page.fill('input[name=password]', request.password);
    await Promise.all([page.waitForURL(url => !url.pathname.startsWith('/login')), page.click('main button')]);
    session = await context.storageState();
  }
  return page;
}

async function look(visit) {
  const page = await open(visit);
  await page.goto(request.url + visit.path, { waitUntil: 'load' });
  if (visit.until) await page.getByText(visit.until).waitFor();
  const seen = {
    ...visit,
    title: await page.title(),
    text: await page.innerText('body'),
    buttons: await page.locator('main button').allInnerTexts(),
  };
  if (visit.script ?? true) {
    await page.evaluate(AXE);
    const { violations } = await page.evaluate(() => axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa'] }));
    seen.violations = violations.filter(one => SERIOUS.has(one.impact)).map(one => `${one.id}: ${one.nodes[0].html}`);
    seen.overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  }
  const name = `${visit.path.replace(/\W+/g, '-')}-${visit.scheme ?? 'light'}-${visit.width ?? 1280}.png`;
  await page.screenshot({ path: join(request.folder, name), fullPage: true });
  await page.context().close();
  return seen;
}

// Press a button, with files chosen before if there are any; or drop files on the form of the page, which sends it.
async function press({ path, button, files, drop }) {
  const page = await open({});
  await page.goto(request.url + path);
  if (files) await page.setInputFiles('main input[type=file]', files);
  const answered = page.waitForResponse(response => response.request().isNavigationRequest());
  if (drop) await page.dispatchEvent('main form.drop', 'drop', { dataTransfer: await carrying(page, drop) });
  else await page.click(`main button:has-text("${button}")`);
  await answered;
  await page.waitForLoadState('load');
  const text = await page.innerText('body');
  await page.context().close();
  return text;
}

// What a mouse carries that has taken hold of files.
function carrying(page, paths) {
  const contents = paths.map(path => readFileSync(path).toString('base64'));
  return page.evaluateHandle(all => {
    const carried = new DataTransfer();
    for (const one of all) carried.items.add(new File([Uint8Array.from(atob(one), c => c.charCodeAt(0))], 'a.dcm'));
    return carried;
  }, contents);
}
