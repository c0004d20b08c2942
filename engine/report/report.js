"use strict";
// Click an image to see it large; arrow keys go to its neighbours, Escape closes.
const viewer = document.getElementById("viewer");
const shots = Array.from(document.querySelectorAll(".shot"));
let current = 0;

function show(number) {
  current = (number + shots.length) % shots.length;
  const images = Array.from(shots[current].querySelectorAll("img"));
  viewer.querySelector("div").replaceChildren(...images.map((image) => image.cloneNode()));
  viewer.querySelector("p").textContent = images.map((image) => image.alt).join("  →  ");
  if (!viewer.open) viewer.showModal();
}

shots.forEach((shot, number) => shot.addEventListener("click", () => show(number)));
viewer.addEventListener("click", () => viewer.close());
viewer.addEventListener("close", () => shots[current].focus());
document.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (viewer.open && step) {
    event.preventDefault();
    show(current + step);
  }
});
