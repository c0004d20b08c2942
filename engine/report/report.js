"use strict";
// Click an image to see it large; arrow keys go to its neighbours, Escape closes.
const viewer = document.getElementById("viewer");
const shots = Array.from(document.querySelectorAll(".shot"));
let current = 0;

function show(number) {
  current = (number + shots.length) % shots.length;
  const image = shots[current].querySelector("img");
  viewer.querySelector("img").src = image.src;
  viewer.querySelector("img").alt = image.alt;
  viewer.querySelector("p").textContent = image.alt;
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
