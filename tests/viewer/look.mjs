// Look at a study in OHIF as a reader does, and say what is seen: a request comes as JSON on stdin, the answer goes to stdout.
//
// request: { chromium, url, study, folder, segmentations: { name: { description, instances } },
//            maps: { name: description }, texts: { name: description } }
// answer:  { list, descriptions, overlays: { name: [overlay] }, centres: { name: point }, texts: { name: text },
//            errors, foreign }
// An overlay is what one source instance shows: two pictures, with the segmentation and without, and where they stand.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const PATIENCE_MS = 60_000;
const ARGUMENTS = [
  // no graphics card is needed, and none is asked for
  '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--ignore-gpu-blocklist',
  '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
];
const CANVAS = '.cornerstone-canvas';
const VIEWPORT = '[data-cy="viewport-pane"]';
const THUMBNAIL = '[data-cy^="study-browser-thumbnail"]';

const request = JSON.parse(readFileSync(0, 'utf8'));
const browser = await chromium.launch({ executablePath: request.chromium, args: ARGUMENTS });
const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
context.setDefaultTimeout(PATIENCE_MS);
const answer = { overlays: {}, centres: {}, texts: {}, errors: [], foreign: [] };
watch();
try {
  answer.list = await readStudyList();
  for (const [name, { description, instances }] of Object.entries(request.segmentations)) {
    answer.overlays[name] = await readSegmentation(name, description, instances);
  }
  for (const [name, description] of Object.entries(request.maps)) {
    answer.centres[name] = await readMap(name, description);
  }
  for (const [name, description] of Object.entries(request.texts)) {
    answer.texts[name] = await readText(name, description);
  }
} catch (error) {
  console.error(`the page reports: ${answer.errors.join('\n')}`);
  await keep(context.pages().at(-1), 'failed');
  throw error;
} finally {
  await browser.close();
}
process.stdout.write(JSON.stringify(answer));

function watch() {
  context.on('console', message => message.type() === 'error' && answer.errors.push(message.text()));
  context.on('weberror', error => answer.errors.push(error.error().message));
  context.on('request', request => isForeign(request.url()) && answer.foreign.push(request.url()));
}

function isForeign(url) {
  return /^(https?|wss?):/.test(url) && !url.startsWith(`${request.url}/`);
}

async function readStudyList() {
  const page = await context.newPage();
  await page.goto(request.url);
  const rows = page.locator('table tbody tr', { hasText: /\d/ });
  await rows.first().waitFor();
  await keep(page, 'list');
  // who comes for the first time is offered a tour, over everything else
  await page.evaluate(() => localStorage.setItem('shownTours', '["basicViewerTour"]'));
  const texts = await rows.allInnerTexts();
  await page.close();
  return texts;
}

async function openStudy() {
  const page = await context.newPage();
  await page.goto(`${request.url}/viewer?StudyInstanceUIDs=${request.study}`);
  await page.waitForFunction(isRendered);
  answer.descriptions = await page.locator('[data-cy="series-description-label"]').allInnerTexts();
  return page;
}

async function open(page, description) {
  await page.locator(THUMBNAIL, { hasText: description }).dblclick();
}

async function readSegmentation(name, description, instances) {
  const page = await openStudy();
  await open(page, description);
  const yes = page.locator('[data-cy="yes-hydrate-btn"]');
  await yes.waitFor();
  const preview = await page.locator(CANVAS).elementHandle();
  await yes.click();
  // the preview's viewport gives way to one that shows the series with the segmentation over it
  await preview.waitForElementState('hidden');
  await page.waitForFunction(hasSegmentation);
  const overlays = [];
  for (const instance of instances) {
    await page.evaluate(showInstance, instance);
    const shown = await page.evaluate(pictureAtRest);
    await keep(page, `${name}-${overlays.length + 1}`);
    await page.evaluate(toggleSegmentation);
    const hidden = await page.evaluate(pictureAtRest);
    await page.evaluate(toggleSegmentation);
    overlays.push({ shown, hidden, ...(await page.evaluate(placeOfCanvas)) });
  }
  await page.close();
  return overlays;
}

async function readMap(name, description) {
  const page = await openStudy();
  await open(page, description);
  await page.waitForFunction(hasMap);
  const centre = await page.evaluate(centreOfMap);
  await page.evaluate(showPlace, centre);
  await page.evaluate(pictureAtRest);
  await keep(page, name);
  await page.close();
  return centre;
}

async function readText(name, description) {
  const page = await openStudy();
  await open(page, description);
  await page.locator(`${VIEWPORT} ${CANVAS}`).waitFor({ state: 'detached' });
  const report = page.locator(VIEWPORT).filter({ hasText: /\S/, hasNotText: 'Loading' });
  await report.waitFor();
  const text = await report.innerText();
  await page.waitForTimeout(500);
  await keep(page, name);
  await page.close();
  return text;
}

async function keep(page, stem) {
  await page.screenshot({ path: join(request.folder, `${stem}.png`) });
}

// The functions below run inside the page.

function isRendered() {
  return window.cornerstone?.getEnabledElements()[0]?.viewport.viewportStatus === 'rendered';
}

function hasSegmentation() {
  const viewport = cornerstone.getEnabledElements()[0]?.viewport;
  return viewport && services.segmentationService.getSegmentationRepresentations(viewport.id).length > 0;
}

async function showInstance(sopInstanceUid) {
  const { viewport } = cornerstone.getEnabledElements()[0];
  const index = viewport.getImageIds().findIndex(id => id.includes(`/instances/${sopInstanceUid}/`));
  if (index < 0) throw new Error(`expected instance ${sopInstanceUid} among the images shown`);
  await viewport.setImageIdIndex(index);
  viewport.render();
}

function hasMap() {
  return cornerstone.getEnabledElements()[0]?.viewport.getActors().length === 2;
}

// The mean place of the map's values, as the volume that OHIF draws has them.
function centreOfMap() {
  const { viewport } = cornerstone.getEnabledElements()[0];
  const [, map] = viewport.getActors();
  const volume = map.actor.getMapper().getInputData();
  const [columns, rows, slices] = volume.getDimensions();
  const values = cornerstone.cache.getVolume(map.referencedId ?? map.uid).voxelManager.getCompleteScalarDataArray();
  const sum = [0, 0, 0, 0];
  for (let k = 0, at = 0; k < slices; k++)
    for (let j = 0; j < rows; j++)
      for (let i = 0; i < columns; i++, at++)
        [i, j, k, 1].forEach((place, axis) => (sum[axis] += place * values[at]));
  return Array.from(volume.indexToWorld(sum.slice(0, 3).map(each => each / sum[3])));
}

async function showPlace(point) {
  const { viewport } = cornerstone.getEnabledElements()[0];
  const { viewPlaneNormal, focalPoint, position } = viewport.getCamera();
  const away = viewPlaneNormal.reduce((sum, share, axis) => sum + share * (point[axis] - focalPoint[axis]), 0);
  const moved = from => from.map((place, axis) => place + away * viewPlaneNormal[axis]);
  viewport.setCamera({ focalPoint: moved(focalPoint), position: moved(position) });
  viewport.render();
}

function toggleSegmentation() {
  const { viewport } = cornerstone.getEnabledElements()[0];
  const { segmentationService } = services;
  for (const { segmentationId, type } of segmentationService.getSegmentationRepresentations(viewport.id)) {
    segmentationService.toggleSegmentationRepresentationVisibility(viewport.id, { segmentationId, type });
  }
}

// Rendering has come to rest when the canvas stays as it is; its picture is a data URL.
async function pictureAtRest() {
  const { viewport } = cornerstone.getEnabledElements()[0];
  for (let last = null; ; ) {
    await new Promise(resolve => setTimeout(() => requestAnimationFrame(resolve), 250));
    const now = viewport.canvas.toDataURL();
    if (now === last) return now;
    last = now;
  }
}

function placeOfCanvas() {
  const { viewport } = cornerstone.getEnabledElements()[0];
  const [origin, right, down] = [[0, 0], [1, 0], [0, 1]].map(point => Array.from(viewport.canvasToWorld(point)));
  return { origin, right, down };
}
