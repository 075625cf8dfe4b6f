"""How small the models of families.py are made: parameters of configurations by name, and what single families need."""

LAYERS, HEADS, KV_HEADS, HEAD_DIM = 4, 4, 2, 16
HIDDEN = HEADS * HEAD_DIM
WINDOW = 16
PROMPTS = (12, 48)  # tokens: within the windows and beyond

_BY_VALUE = [
    (LAYERS, "num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers"),
    (HEADS, "num_attention_heads n_head n_heads num_heads decoder_attention_heads encoder_attention_heads "
            "linear_num_value_heads linear_num_key_heads linear_num_heads swa_num_attention_heads"),
    (KV_HEADS, "num_key_value_heads swa_num_key_value_heads num_experts_per_tok moe_topk num_query_groups"),
    (HEAD_DIM, "head_dim swa_head_dim attention_head_dim linear_key_head_dim linear_value_head_dim qk_nope_head_dim "
               "v_head_dim index_head_dim kv_channels mamba_d_state state_size ssm_state_size linear_head_dim"),
    (HEAD_DIM // 2, "qk_rope_head_dim"),
    (HIDDEN, "hidden_size n_embd d_model embedding_size kv_lora_rank q_lora_rank o_lora_rank word_embed_proj_dim"),
    (2 * HIDDEN, "intermediate_size ffn_dim decoder_ffn_dim encoder_ffn_dim n_inner ffn_hidden_size "
                 "moe_intermediate_size "
                 "shared_expert_intermediate_size intermediate_size_mlp dense_intermediate_size "
                 "shared_intermediate_size moe_shared_expert_intermediate_size expert_ffn_hidden_size mlp_dim "
                 "shared_experts_intermediate_size"),
    (4, "num_experts n_routed_experts num_local_experts moe_num_experts index_topk index_n_heads keep_window_size"),
    (1, "n_group topk_group first_k_dense_replace n_groups num_expert_group"),
    (200, "vocab_size vocab_size_per_layer_input"),
    (512, "max_position_embeddings n_positions n_ctx"),
    (WINDOW, "sliding_window sliding_window_size attention_chunk_size local_attention attention_window_size "
             "window_size index_block_size"),
]
SIZES = {name: value for value, names in _BY_VALUE for name in names.split()}
SIZES |= {"use_sliding_window": True, "max_window_layers": 2, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
          "is_decoder": True, "num_codebooks": 1}

_ALTERNATING = {"layer_types": ["full_attention", "sliding_attention"] * (LAYERS // 2)}
_ATTENTION_LAST = ["linear_attention"] * (LAYERS - 1) + ["full_attention"]
# What a family needs besides.
FAMILIES: dict[str, dict] = {
    "bailing_hybrid": {"layer_types": _ATTENTION_LAST},
    "bamba": {"attn_layer_indices": [1, 3]},
    "blt": {"encoder_hash_byte_group_vocab": 100, "encoder_config": {"hidden_size_global": HIDDEN},
            "decoder_config": {"hidden_size_global": HIDDEN}},
    "codegen": {"rotary_dim": 8},
    "cohere_compass_text": _ALTERNATING | {"rope_parameters": {
        kind: {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2]}
        for kind in _ALTERNATING["layer_types"]}},
    "dbrx": {"attn_config": {"kv_n_heads": KV_HEADS, "rope_theta": 1e4, "clip_qkv": 8.0}},
    "dots1": {"n_shared_experts": 1},
    "ernie4_5_moe": {"moe_k": 2},
    "gemma3n_text": {"num_hidden_layers": 8, "num_kv_shared_layers": 3, "layer_types": None},
    "gemma4_assistant": {"text_config": {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0,
                                         "num_kv_shared_layers": 0}},
    "gemma4_unified_assistant": {"text_config": {"num_hidden_layers": 8, "num_kv_shared_layers": 2}},
    "gpt_neo": {"attention_types": [[["global", "local"], LAYERS // 2]]},
    "gptj": {"rotary_dim": 8},
    "granitemoehybrid": {"layer_types": _ATTENTION_LAST},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "kimi_linear": {"layer_types": _ATTENTION_LAST},
    "laguna": _ALTERNATING,
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * (LAYERS // 2)},
    "lfm3": _ALTERNATING,
    "longcat_flash": {"head_dim": HEAD_DIM // 2},
    "mamba2": {"num_heads": 8},
    "mellum": _ALTERNATING,
    "modernbert-decoder": {"global_attn_every_n_layers": 2},
    "qwen4_exp_text": {"indexer_n_heads": 4, "indexer_kv_heads": 1, "indexer_head_dim": HEAD_DIM, "indexer_budget": 8,
                       "indexer_compress_ratio": 4},
    "reformer": {"is_decoder": True, "axial_pos_embds": False},
    "xlm": {"emb_dim": HIDDEN, "n_words": 200},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"layers_block_type": ["linear_attention", "hybrid"] * (LAYERS // 2)},
    "zamba2": {"layers_block_type": ["linear_attention", "hybrid"] * (LAYERS // 2)},
    "zaya": {"num_experts_per_tok": 1},
}
FAMILIES["qwen4_exp"] = FAMILIES["qwen4_exp_text"]
FAMILIES["gemma3n"] = {"text_config": FAMILIES["gemma3n_text"]}

# Options that are off by default and touch attention.
VARIANTS = {
    "deepseek_v3 with one head_dim": ("deepseek_v3", {"v_head_dim": HEAD_DIM + HEAD_DIM // 2}),
    "gemma2 without softcap": ("gemma2", {"attn_logit_softcapping": None, "query_pre_attn_scalar": 20}),
    "gemma3 in both directions": ("gemma3_text", {"use_bidirectional_attention": True}),
    "gpt2 with scales by layer": ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
    "gpt2 without scale": ("gpt2", {"scale_attn_weights": False}),
    "gpt2 reordered": ("gpt2", {"reorder_and_upcast_attn": True, "scale_attn_by_inverse_layer_idx": True}),
    "gpt_bigcode with all heads": ("gpt_bigcode", {"multi_query": False}),
    "llama with one KV head": ("llama", {"num_key_value_heads": 1}),
    "llama with dynamic RoPE": ("llama", {"max_position_embeddings": 32, "rope_parameters": {
        "rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}),
    "phi3 with long RoPE": ("phi3", {"original_max_position_embeddings": 32, "rope_parameters": {
        "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 32,
        "short_factor": [1.0] * (HEAD_DIM // 2), "long_factor": [2.0] * (HEAD_DIM // 2)}}),
    "mistral without window": ("mistral", {"sliding_window": None}),
    "olmo clipped": ("olmo", {"clip_qkv": 0.5}),
    "phi with norms": ("phi", {"qk_layernorm": True}),
    "qwen2 without window": ("qwen2", {"use_sliding_window": False}),
    "stablelm with norms": ("stablelm", {"qk_layernorm": True}),
}
