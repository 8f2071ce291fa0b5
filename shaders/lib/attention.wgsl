// What all attention kernels share: uniforms, qkv, and which tokens of which head a workgroup owns.
import package::plan::{D4};

struct Params {
    batch: u32, tokens: u32, heads: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>; // [batch * tokens, 3 * d1]

// Tokens of one head of one image, from `first` on.
struct Block {
    image: u32, head: u32, first: u32,
}

// The block of `height` tokens with a linear index; behind the last one there is no such image.
fn block_of(index: u32, height: u32) -> Block {
    let blocks = (params.tokens + height - 1u) / height;
    return Block(index / blocks / params.heads, index / blocks % params.heads, index % blocks * height);
}

// Where the head's quads of a token stand: q (part 0), k or v in qkv,
fn qkv_at(block: Block, token: u32, part: u32) -> u32 {
    return (((block.image * params.tokens + token) * 3u + part) * params.heads + block.head) * D4;
}

// those of out and dy,
fn out_at(block: Block, token: u32) -> u32 {
    return ((block.image * params.tokens + token) * params.heads + block.head) * D4;
}

// and the token's number among those of score rows.
fn score_at(block: Block, token: u32) -> u32 {
    return (block.image * params.heads + block.head) * params.tokens + token;
}
