// A volume and its prior in three planes, by NiiVue; the cross stands in the middle of the prior.
const figure = document.querySelector("figure.volume");
const status = figure.querySelector("[role=status]");

async function show() {
  const view = new niivue.Niivue({ logLevel: "error", isRadiologicalConvention: true, backColor: [0, 0, 0, 1] });
  await view.attachToCanvas(figure.querySelector("canvas"));
  const layers = [{ url: figure.dataset.volume, colormap: "gray" }];
  if (figure.dataset.prior) layers.push({ url: figure.dataset.prior, colormap: "red", opacity: 0.5, cal_min: 0.5, cal_max: 1 });
  await view.loadVolumes(layers);
  view.scene.crosshairPos = view.mm2frac(figure.dataset.at.split(" ").map(Number));
  view.setSliceType(view.sliceTypeMultiplanar);
  figure.addEventListener("input", (event) => view.setOpacity(1, Number(event.target.value)));
}

show().then(
  () => (status.textContent = "Drag to move the cross, scroll to change the slice."),
  (error) => (status.textContent = `The volume cannot be shown (${error.message}): see the slices on the page of the job.`),
);
