/** GLSL. Both programs interpolate positions between the last two states. A node that is held has a position of its own. */

const POSITION = `#version 300 es
precision highp float;
layout(location = 0) in vec3 previous;
layout(location = 1) in vec3 latest;
layout(location = 2) in vec4 paint;  // colour; alpha is less for nodes that do not stand out
uniform mat4 camera;
uniform float progress;
uniform int held;
uniform vec3 heldAt;
uniform vec2 fog;  // depths at which it begins and ends

vec4 projected() {
  return camera * vec4(gl_VertexID == held ? heldAt : mix(previous, latest, progress), 1.0);
}
float distanceShare(float depth) {
  return clamp((depth - fog.x) / (fog.y - fog.x), 0.0, 1.0);
}
`;

export const NODE_VERTEX = `${POSITION}
layout(location = 3) in float size;
uniform float scale;  // pixels of a node's width at depth 1
uniform vec2 widths;  // smallest and largest, in pixels
out vec4 colour;
out float fading;
out float width;

void main() {
  gl_Position = projected();
  width = clamp(size * scale / gl_Position.w, widths.x, widths.y);
  gl_PointSize = width;
  colour = paint;
  fading = distanceShare(gl_Position.w);
}
`;

export const NODE_FRAGMENT = `#version 300 es
precision highp float;
in vec4 colour;
in float fading;
in float width;
uniform vec3 background;
uniform float haze;
out vec4 fragment;

void main() {
  vec2 at = gl_PointCoord * 2.0 - 1.0;
  float radius = length(at);
  float pixel = 2.0 / width;
  float cover = 1.0 - smoothstep(1.0 - pixel, 1.0, radius);
  if (cover < 0.02) discard;
  // A ball that is lit from the upper left, with a thin rim that separates it from what is behind.
  float height = sqrt(max(0.0, 1.0 - radius * radius));
  float light = dot(vec3(at.x, -at.y, height), vec3(-0.36, 0.48, 0.8));
  vec3 lit = colour.rgb * (0.80 + 0.24 * light) + 0.06 * pow(max(light, 0.0), 12.0);
  float rim = smoothstep(1.0 - 2.6 * pixel, 1.0 - 1.2 * pixel, radius) * step(7.0, width);
  lit = mix(lit, background, 0.85 * rim);
  fragment = vec4(mix(lit, background, max(haze * fading, 1.0 - colour.a)), cover);
}
`;

export const EDGE_VERTEX = `${POSITION}
out vec4 colour;
out float fading;

void main() {
  gl_Position = projected();
  colour = paint;
  fading = distanceShare(gl_Position.w);
}
`;

export const EDGE_FRAGMENT = `#version 300 es
precision highp float;
in vec4 colour;
in float fading;
uniform vec3 neutral;
uniform float tint;  // share of the nodes' colours
uniform float strength;
uniform float haze;
out vec4 fragment;

void main() {
  fragment = vec4(mix(neutral, colour.rgb, tint), strength * colour.a * (1.0 - 0.8 * haze * fading));
}
`;
