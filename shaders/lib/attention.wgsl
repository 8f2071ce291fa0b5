// What all attention kernels share: uniforms, qkv, and which rows of which head a workgroup owns. With a PREFIX the keys of
// an image are its own rows of the prefix, then those of its tokens.
import package::plan::{D4};

struct Params {
    batch: u32, tokens: u32, heads: u32,
    scale: f32,
    prefix: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<vec4<f32>>; // [batch * tokens, 3 * d1]
@if(PREFIX) @group(0) @binding(2) var<storage, read> prefix: array<vec4<f32>>; // [batch, 2, prefix, d1], K and V

// Rows of one head of one image, from `first` on.
struct Block {
    image: u32, head: u32, first: u32,
}

// The block of `height` rows with a linear index, where every image has `rows`; behind the last one there is no such image.
fn block_of(index: u32, height: u32, rows: u32) -> Block {
    let blocks = (rows + height - 1u) / height;
    return Block(index / blocks / params.heads, index / blocks % params.heads, index % blocks * height);
}

// How many keys an image has, or queries.
fn count(keys: bool) -> u32 {
    @if(PREFIX) if keys { return params.prefix + params.tokens; }
    return params.tokens;
}

// Where the head's quads of a token stand: q (part 0), k or v in qkv,
fn qkv_at(block: Block, token: u32, part: u32) -> u32 {
    return (((block.image * params.tokens + token) * 3u + part) * params.heads + block.head) * D4;
}

// those of a row of the prefix, its key (part 0) or value,
@if(PREFIX) fn prefix_at(block: Block, row: u32, part: u32) -> u32 {
    return (((block.image * 2u + part) * params.prefix + row) * params.heads + block.head) * D4;
}

// those of out and dy,
fn out_at(block: Block, token: u32) -> u32 {
    return ((block.image * params.tokens + token) * params.heads + block.head) * D4;
}

// and the token's number among those of score rows.
fn score_at(block: Block, token: u32) -> u32 {
    return (block.image * params.heads + block.head) * params.tokens + token;
}

// Quad c of a key (part 0) or value; keys beyond the last repeat it.
@if(PREFIX) fn key_quad(block: Block, key: u32, part: u32, c: u32) -> vec4<f32> {
    if key < params.prefix { return prefix[prefix_at(block, key, part) + c]; }
    return qkv[qkv_at(block, min(key - params.prefix, params.tokens - 1u), 1u + part) + c];
}
