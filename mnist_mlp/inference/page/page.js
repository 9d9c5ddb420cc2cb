// Draws strokes, sends the drawing after every move of the pen, and shows what the net says.
"use strict";

const find = (id) => document.getElementById(id);
const drawing = find("drawing");
const pen = drawing.getContext("2d", { willReadFrequently: true });
const size = drawing.width;
const small = new OffscreenCanvas(size / 2, size / 2); // what is sent: the net sees 28 x 28
const sent = small.getContext("2d", { willReadFrequently: true });

let strokes = []; // each a list of points [x, y], in pixels of the canvas
let picture = null; // a file, instead of strokes
let since = 0; // when the last change was made, in milliseconds
let asking = false; // whether an answer is awaited; one question at a time
let changed = false; // whether the drawing changed meanwhile
window.latencies = []; // milliseconds from each change to the bars that show it

function paint() {
  pen.clearRect(0, 0, size, size);
  pen.lineWidth = size / 13;
  pen.lineCap = pen.lineJoin = "round";
  pen.strokeStyle = getComputedStyle(document.body).color;
  for (const stroke of strokes) {
    pen.beginPath();
    pen.moveTo(...stroke[0]);
    for (const point of stroke) pen.lineTo(...point);
    pen.stroke();
  }
}

// The share of ink in each pixel, a byte each: the alpha channel.
function ink() {
  sent.clearRect(0, 0, small.width, small.width);
  sent.drawImage(drawing, 0, 0, small.width, small.width);
  const { data } = sent.getImageData(0, 0, small.width, small.width);
  const alpha = new Uint8Array(data.length / 4);
  for (let index = 0; index < alpha.length; index++) alpha[index] = data[4 * index + 3];
  return alpha;
}

async function ask() {
  if (asking) {
    changed = true;
    return;
  }
  asking = true;
  const start = since;
  const [where, body] = picture ? ["picture", picture] : [`drawing?width=${small.width}`, ink()];
  try {
    const response = await fetch(where, { method: "POST", body });
    show(await response.json());
    window.latencies.push(performance.now() - start);
  } catch {
    say("", "the server does not answer; is the command still running?");
  }
  asking = false;
  if (changed) {
    changed = false;
    ask();
  }
}

function say(label, note) {
  find("label").textContent = label || "?";
  find("note").textContent = note;
}

function show(answer) {
  say(answer.label, answer.error || answer.note);
  const seen = find("seen").getContext("2d");
  seen.clearRect(0, 0, 28, 28);
  if (answer.pixels) {
    const gray = Uint8Array.from(atob(answer.pixels), (character) => character.charCodeAt(0));
    const image = seen.createImageData(28, 28);
    gray.forEach((value, index) => image.data.set([value, value, value, 255], 4 * index));
    seen.putImageData(image, 0, 0);
  }
  [...find("bars").children].forEach((row, index) => {
    const share = answer.probabilities ? answer.probabilities[index] : 0;
    row.classList.toggle("likeliest", row.dataset.label === answer.label);
    row.querySelector(".bar").style.width = `${100 * share}%`;
    row.querySelector(".track").setAttribute("aria-valuenow", Math.round(100 * share));
    row.querySelector(".percent").textContent = `${(100 * share).toFixed(1)}%`;
    row.querySelectorAll(".member").forEach((bar, member) => {
      bar.style.width = `${answer.members ? 100 * answer.members[member][index] : 0}%`;
    });
  });
}

function change(time) {
  since = time === undefined ? performance.now() : time;
  ask();
}

function clear() {
  strokes = [];
  picture = null;
  paint();
  change();
}

function undo() {
  if (picture) return clear();
  strokes.pop();
  paint();
  change();
}

async function take(file) {
  if (!file) return;
  strokes = [];
  picture = file;
  paint();
  change();
  try {
    const image = await createImageBitmap(file);
    const scale = Math.min(size / image.width, size / image.height);
    const [width, height] = [scale * image.width, scale * image.height];
    pen.drawImage(image, (size - width) / 2, (size - height) / 2, width, height);
  } catch {
    // A format that the browser does not show. The server may read it all the same.
  }
}

function position(event) {
  const box = drawing.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top].map((x) => (x * size) / box.width);
}

drawing.addEventListener("pointerdown", (event) => {
  if (event.button) return;
  drawing.setPointerCapture(event.pointerId);
  picture = null;
  strokes.push([position(event)]);
  paint();
  change(event.timeStamp);
});

drawing.addEventListener("pointermove", (event) => {
  if (!drawing.hasPointerCapture(event.pointerId) || !strokes.length) return;
  const moves = event.getCoalescedEvents ? event.getCoalescedEvents() : [];
  for (const move of moves.length ? moves : [event]) strokes.at(-1).push(position(move));
  paint();
  change(event.timeStamp);
});

find("undo").addEventListener("click", undo);
find("clear").addEventListener("click", clear);
find("open").addEventListener("click", () => find("file").click());
find("file").addEventListener("change", (event) => {
  take(event.target.files[0]);
  event.target.value = ""; // Else the same file could not be chosen again.
});

window.addEventListener("keydown", (event) => {
  const command = event.ctrlKey || event.metaKey;
  if (event.key === "z" ? command : event.key === "u" && !command) undo();
  else if (!command && ["c", "Delete", "Backspace"].includes(event.key)) clear();
  else if (!command && event.key === "o") find("file").click();
  else return;
  event.preventDefault();
});

window.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
for (const name of ["dragover", "dragleave", "drop"]) {
  window.addEventListener(name, (event) => {
    event.preventDefault();
    drawing.classList.toggle("over", name === "dragover");
    if (name === "drop") take(event.dataTransfer.files[0]);
  });
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => picture || paint());

async function start() {
  const net = await (await fetch("net")).json();
  find("net").textContent = net.about;
  for (const label of net.class_names) {
    const row = document.createElement("div");
    row.className = "row";
    row.dataset.label = label;
    const name = document.createElement("span");
    name.textContent = label;
    const track = document.createElement("div");
    track.className = "track";
    track.setAttribute("role", "meter");
    track.setAttribute("aria-label", label);
    for (let bar = 0; bar <= (net.members > 1 ? net.members : 0); bar++) {
      const element = document.createElement("div");
      element.className = bar ? "member" : "bar";
      track.append(element);
    }
    const percent = document.createElement("span");
    percent.className = "percent";
    row.append(name, track, percent);
    find("bars").append(row);
  }
  show({});
  document.body.dataset.ready = "yes";
}

start();
