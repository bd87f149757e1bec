"""Colours of the visible surfaces, compiled by Numba.

Textures, relief, a key light with shadows, ambient light from above and below, and gloss. Edges are anti-aliased by
four samples per pixel; inside a surface, one sample is shaded.
"""

from __future__ import annotations

import numpy as np
from numba import njit

SAMPLES = 2
"""Samples per pixel along each axis: the index buffer is larger than the image by this factor."""

PALETTE, SKIN = 0.0, 1.0
"""Kinds of material, in column 0."""

MATERIAL_COLUMNS = 24
"""Columns of a material.

All kinds: 0 kind, 12 relief, 13 gloss, 14 sharpness of the gloss, 15 how far light wraps around.
Palette: 1 texture, 2 repeats per metre, 3:6, 6:9, 9:12 colours, 16 strength of the noise.
Skin: 1 texture of the mottling, 2 its repeats per metre, 3:6 colour of the back, 6:9 colour of the palm, 9 blush,
10 creases, 11 veins, 16:19 colour of the nails, 19 gloss of the nails, 20 strength of the mottling.
"""

LIGHT_COLUMNS = 20
"""Columns of the light.

0:3 direction to the key light, 3:6 its colour, 6:9 ambient colour from above, 9:12 ambient colour from below, 12:15 up,
15 strength of the shadow, 16 softness of the shadow in whole texels, 17 focal length in pixels of the index buffer.
"""

SKIN_CHANNELS = 7
"""Channels of the skin maps: creases, blush, nail, veins, slope along u and v (0.5 is level), white of the nail."""


@njit(cache=True, error_model="numpy")
def _lookup(textures, layer, u, v, channels, out):
    """Looks up a repeating uint8 (T, N, N, C) texture with bilinear interpolation, as 0..1."""
    size, last = textures.shape[1], textures.shape[1] - 1
    x, y = u * size, v * size
    x0, y0 = int(np.floor(x)), int(np.floor(y))
    tx, ty = x - x0, y - y0
    x0, y0 = x0 & last, y0 & last  # the size is a power of two
    x1, y1 = (x0 + 1) & last, (y0 + 1) & last
    a, b, c, d = (1 - tx) * (1 - ty) / 255, tx * (1 - ty) / 255, (1 - tx) * ty / 255, tx * ty / 255
    for k in range(channels):
        upper = a * textures[layer, y0, x0, k] + b * textures[layer, y0, x1, k]
        out[k] = upper + c * textures[layer, y1, x0, k] + d * textures[layer, y1, x1, k]


@njit(cache=True, error_model="numpy")
def _lookup_skin(maps, frame, u, v, blend, out):
    """Looks up the skin maps of palm and back, mixed by ``blend`` (0 palm, 1 back) and clamped at the edges."""
    height, width = maps.shape[1], maps.shape[2]
    x = min(max((u - frame[0]) * frame[2], 0.0), width - 1.001)
    y = min(max((v - frame[1]) * frame[2], 0.0), height - 1.001)
    x0, y0 = int(x), int(y)
    tx, ty = x - x0, y - y0
    for k in range(SKIN_CHANNELS):
        out[k] = 0.0
    for side in range(2):
        share = (blend if side == 1 else 1 - blend) / 255
        if share <= 0:
            continue
        a, b, c, d = (1 - tx) * (1 - ty) * share, tx * (1 - ty) * share, (1 - tx) * ty * share, tx * ty * share
        for k in range(SKIN_CHANNELS):
            out[k] += (
                a * maps[side, y0, x0, k]
                + b * maps[side, y0, x0 + 1, k]
                + c * maps[side, y0 + 1, x0, k]
                + d * maps[side, y0 + 1, x0 + 1, k]
            )


@njit(cache=True, error_model="numpy")
def _lit(shadow, frame, px, py, pz, softness):
    """Returns the share of the key light that reaches a point.

    Points near the edge of a shadow are compared with 3 x 3 texels of the shadow map.
    """
    x = int(np.floor(frame[0] * px + frame[1] * py + frame[2] * pz + frame[9] + 0.5))
    y = int(np.floor(frame[3] * px + frame[4] * py + frame[5] * pz + frame[10] + 0.5))
    near = frame[6] * px + frame[7] * py + frame[8] * pz + frame[11]
    height, width = shadow.shape[1], shadow.shape[2]
    if x < softness or y < softness or x >= width - softness or y >= height - softness or shadow[1, y, x] < near:
        return 1.0
    if shadow[2, y, x] >= near:
        return 0.0
    total = 0
    for j in range(-1, 2):
        for i in range(-1, 2):
            total += shadow[0, y + j * softness, x + i * softness] < near
    return total / 9


@njit(cache=True, error_model="numpy")
def _collect(index, nearest, face_material, face_part, cover, alpha):
    """Collects the samples to shade, and fills ``cover`` and ``alpha``.

    Returns (N, 4): face, pixel, index among the samples of the pixel (4: their centre), and number of samples of the
        pixel.
    """
    height, width = alpha.shape
    samples = np.empty((4 * height * width, 4), np.int32)
    n = 0
    for y in range(height):
        for x in range(width):
            first = index[2 * y, 2 * x]
            low, high = np.inf, -np.inf
            same, covered = first >= 0, 0
            for k in range(4):
                f = index[2 * y + k // 2, 2 * x + k % 2]
                if f < 0:
                    same = False
                    continue
                covered += 1
                if face_part[f] > 0:
                    cover[y, x, face_part[f] - 1] += 1
                near = nearest[2 * y + k // 2, 2 * x + k % 2]
                low, high = min(low, near), max(high, near)
                if same and face_material[f] != face_material[first]:
                    same = False
            alpha[y, x] = covered / 4
            pixel = y * width + x
            if same and high < 1.03 * low:
                samples[n, 0], samples[n, 1], samples[n, 2], samples[n, 3] = first, pixel, 4, 1
                n += 1
            elif covered > 0:
                for k in range(4):
                    f = index[2 * y + k // 2, 2 * x + k % 2]
                    if f >= 0:
                        samples[n, 0], samples[n, 1], samples[n, 2], samples[n, 3] = f, pixel, k, 4
                        n += 1
    return samples[:n]


# Reordering sums is harmless here: colours are rounded to 256 levels, and no label depends on them.
@njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract", "arcp", "nsz"})
def _colour(samples, mesh, look, crevices, rgba):
    """Shades the samples and adds their colours to the pixels."""
    vertices, faces, face_material = mesh
    materials, skin_maps, skin_frame, textures, light, shadow, shadow_frame = look
    width = rgba.shape[1]
    scratch = np.empty(8)
    for i in range(samples.shape[0]):
        f, pixel, place = samples[i, 0], samples[i, 1], samples[i, 2]
        y, x = pixel // width, pixel % width
        sx = 2.0 * x + (0.5 if place == 4 else place % 2)
        sy = 2.0 * y + (0.5 if place == 4 else place // 2)
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, bx, by, cx, cy = (
            vertices[a, 0],
            vertices[a, 1],
            vertices[b, 0],
            vertices[b, 1],
            vertices[c, 0],
            vertices[c, 1],
        )
        scale = 1.0 / ((bx - ax) * (cy - ay) - (by - ay) * (cx - ax))
        wa = min(max(((by - cy) * (sx - cx) + (cx - bx) * (sy - cy)) * scale, 0.0), 1.0)
        wb = min(max(((cy - ay) * (sx - cx) + (ax - cx) * (sy - cy)) * scale, 0.0), 1.0 - wa)
        wc = 1.0 - wa - wb
        wa, wb, wc = wa * vertices[a, 2], wb * vertices[b, 2], wc * vertices[c, 2]
        near = wa + wb + wc
        wa, wb, wc = wa / near, wb / near, wc / near
        px = wa * vertices[a, 3] + wb * vertices[b, 3] + wc * vertices[c, 3]
        py = wa * vertices[a, 4] + wb * vertices[b, 4] + wc * vertices[c, 4]
        pz = wa * vertices[a, 5] + wb * vertices[b, 5] + wc * vertices[c, 5]
        nx = wa * vertices[a, 6] + wb * vertices[b, 6] + wc * vertices[c, 6]
        ny = wa * vertices[a, 7] + wb * vertices[b, 7] + wc * vertices[c, 7]
        nz = wa * vertices[a, 8] + wb * vertices[b, 8] + wc * vertices[c, 8]
        u = wa * vertices[a, 9] + wb * vertices[b, 9] + wc * vertices[c, 9]
        v = wa * vertices[a, 10] + wb * vertices[b, 10] + wc * vertices[c, 10]
        k = face_material[f]

        # Textures that are finer than a sample fade to their mean.
        texel = light[17] * near / (materials[k, 2] * textures.shape[1])
        keep = min(texel, 1.0)
        gloss, wrap = materials[k, 13], materials[k, 15]
        if materials[k, 0] == SKIN:
            blend = wa * vertices[a, 11] + wb * vertices[b, 11] + wc * vertices[c, 11]
            _lookup_skin(skin_maps, skin_frame, u, v, blend, scratch)
            crease, blush, nail, vein, white = scratch[0], scratch[1], scratch[2], scratch[3], scratch[6]
            slope_u, slope_v = (scratch[4] - 0.5) * materials[k, 12], (scratch[5] - 0.5) * materials[k, 12]
            _lookup(textures, int(materials[k, 1]), u * materials[k, 2], v * materials[k, 2], 3, scratch)
            mottle = 1 + materials[k, 20] * ((scratch[0] - 0.5) + keep * (scratch[2] - 0.5))
            tone_r, tone_g, tone_b = (
                materials[k, 6] + blend * (materials[k, 3] - materials[k, 6]),
                materials[k, 7] + blend * (materials[k, 4] - materials[k, 7]),
                materials[k, 8] + blend * (materials[k, 5] - materials[k, 8]),
            )
            dark = 1 - materials[k, 10] * crease
            r = tone_r * mottle * (1 + 0.10 * materials[k, 9] * blush) * dark * (1 - 0.16 * materials[k, 11] * vein)
            g = (
                tone_g
                * mottle
                * (1 - 0.30 * materials[k, 9] * blush)
                * dark
                * dark
                * (1 - 0.05 * materials[k, 11] * vein)
            )
            b_ = tone_b * mottle * (1 - 0.26 * materials[k, 9] * blush) * dark * dark
            r += nail * (materials[k, 16] * (1 + 0.3 * white) - r)
            g += nail * (materials[k, 17] * (1 + 0.5 * white) - g)
            b_ += nail * (materials[k, 18] * (1 + 0.5 * white) - b_)
            gloss += nail * (materials[k, 19] - gloss)
            slope_u, slope_v = slope_u * (1 - nail), slope_v * (1 - nail)
        else:
            _lookup(textures, int(materials[k, 1]), u * materials[k, 2], v * materials[k, 2], 5, scratch)
            first, second = 0.5 + keep * (scratch[0] - 0.5), 0.5 + keep * (scratch[1] - 0.5)
            grain = 1 + materials[k, 16] * keep * (scratch[2] - 0.5)
            r = (materials[k, 3] + first * (materials[k, 6] - materials[k, 3])) * grain
            g = (materials[k, 4] + first * (materials[k, 7] - materials[k, 4])) * grain
            b_ = (materials[k, 5] + first * (materials[k, 8] - materials[k, 5])) * grain
            r, g, b_ = (
                r + second * (materials[k, 9] - r),
                g + second * (materials[k, 10] - g),
                b_ + second * (materials[k, 11] - b_),
            )
            slope_u, slope_v = (
                keep * (scratch[3] - 0.5) * materials[k, 12],
                keep * (scratch[4] - 0.5) * materials[k, 12],
            )

        if slope_u != 0 or slope_v != 0:
            # Relief tilts the normal against the gradient of the slope on the surface (Mikkelsen 2010).
            e1x, e1y, e1z = (
                vertices[b, 3] - vertices[a, 3],
                vertices[b, 4] - vertices[a, 4],
                vertices[b, 5] - vertices[a, 5],
            )
            e2x, e2y, e2z = (
                vertices[c, 3] - vertices[a, 3],
                vertices[c, 4] - vertices[a, 4],
                vertices[c, 5] - vertices[a, 5],
            )
            h1 = slope_u * (vertices[b, 9] - vertices[a, 9]) + slope_v * (vertices[b, 10] - vertices[a, 10])
            h2 = slope_u * (vertices[c, 9] - vertices[a, 9]) + slope_v * (vertices[c, 10] - vertices[a, 10])
            det = nx * (e1y * e2z - e1z * e2y) + ny * (e1z * e2x - e1x * e2z) + nz * (e1x * e2y - e1y * e2x)
            if abs(det) > 1e-14:
                gx = (h1 * (e2y * nz - e2z * ny) + h2 * (ny * e1z - nz * e1y)) / det
                gy = (h1 * (e2z * nx - e2x * nz) + h2 * (nz * e1x - nx * e1z)) / det
                gz = (h1 * (e2x * ny - e2y * nx) + h2 * (nx * e1y - ny * e1x)) / det
                steep = np.sqrt(gx * gx + gy * gy + gz * gz)
                limit = min(1.0, 0.7 / max(steep, 1e-9))
                nx, ny, nz = nx - gx * limit, ny - gy * limit, nz - gz * limit
        length = 1 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-20)
        nx, ny, nz = nx * length, ny * length, nz * length
        distance = 1 / np.sqrt(px * px + py * py + pz * pz)
        vx, vy, vz = -px * distance, -py * distance, -pz * distance

        cosine = nx * light[0] + ny * light[1] + nz * light[2]
        lit = 1.0
        if cosine > -wrap and light[15] > 0:
            # Moved along the normal, so that a surface does not shadow itself.
            lit = 1 - light[15] * (
                1 - _lit(shadow, shadow_frame, px + 0.003 * nx, py + 0.003 * ny, pz + 0.003 * nz, int(light[16]))
            )
        direct = max(cosine, 0.0) * lit
        scattered = max((cosine + wrap) / (1 + wrap), 0.0) * (0.35 + 0.65 * lit) - direct
        scattered = max(scattered, 0.0) * (wrap > 0)
        up = 0.5 + 0.5 * (nx * light[12] + ny * light[13] + nz * light[14])
        hx, hy, hz = vx + light[0], vy + light[1], vz + light[2]
        half = (nx * hx + ny * hy + nz * hz) / np.sqrt(hx * hx + hy * hy + hz * hz + 1e-20)
        shine = 0.0
        if cosine > 0 and gloss > 0 and materials[k, 14] * (1 - half) < 7 and half > 0:
            shine = gloss * half ** materials[k, 14] * lit
        facing = max(nx * vx + ny * vy + nz * vz, 0.0)
        sheen = 0.35 * gloss * (1 - facing) ** 4
        ambient_r = light[9] + up * (light[6] - light[9])
        ambient_g = light[10] + up * (light[7] - light[10])
        ambient_b = light[11] + up * (light[8] - light[11])
        dim = crevices[y, x] / samples[i, 3]
        direct, scattered = dim * direct, dim * scattered
        ambient_r, ambient_g, ambient_b = dim * ambient_r, dim * ambient_g, dim * ambient_b
        shine = dim * shine
        rgba[y, x, 0] += r * (light[3] * (direct + 0.60 * scattered) + ambient_r) + shine * light[3] + sheen * ambient_r
        rgba[y, x, 1] += g * (light[4] * (direct + 0.28 * scattered) + ambient_g) + shine * light[4] + sheen * ambient_g
        rgba[y, x, 2] += (
            b_ * (light[5] * (direct + 0.22 * scattered) + ambient_b) + shine * light[5] + sheen * ambient_b
        )


def shade(index, nearest, mesh, face_part, look, crevices, masks) -> tuple[np.ndarray, np.ndarray]:
    """Shades an index buffer.

    Args:
        index: Index buffer of ``rasterise``, ``SAMPLES`` times as large as the image along each axis.
        nearest: Nearness of ``rasterise``, of the same size.
        mesh: (V, 12) float32 vertices (pixel in the index buffer, nearness, position, normal, uvw), (F, 3) faces, and
            (F,) indices of materials.
        face_part: (F,) uint8, 1 + the index of the mask of each face, or 0.
        look: Materials, skin maps (2, H, W, C), the corner of the maps (u, v) with the texels per metre, textures
            (T, N, N, 5), light, shadow map (3, S, S) with the maxima and minima of its neighbourhoods, and the map from
            points to the shadow map.
        crevices: (h, w) float32 factor on the colour.
        masks: Number of masks.

    Returns:
        (h, w, 4) float32 premultiplied colour and coverage, and (h, w, masks) uint8 number of samples of each mask, 0
        to 4.
    """
    height, width = crevices.shape
    rgba, cover = np.zeros((height, width, 4), np.float32), np.zeros((height, width, masks), np.uint8)
    alpha = np.empty((height, width), np.float32)
    samples = _collect(index, nearest, mesh[2], face_part, cover, alpha)
    _colour(samples, mesh, look, crevices, rgba)
    rgba[..., 3] = alpha
    return rgba, cover
