// The columns of a problem, for every record that holds a ProblemInfo at the end of a path of member pointers.
#pragma once

#include "core/problem.h"
#include "results/column.h"

namespace salebench {

/// What attention the problem is.
template <class Record, auto... kPath>
std::vector<Column<Record>> attention_columns() {
  using P = ProblemInfo;
  return {
      {"causal", "", "1: a row sees no later keys", follow<Record, kPath..., &P::causal>},
      {"scale", "", "multiplies q . k", follow<Record, kPath..., &P::scale>},
      {"window", "tokens", "keys that a row sees at most, its own token among them; 0 for no limit",
       follow<Record, kPath..., &P::sliding_window>},
      {"first_key", "tokens", "leading tokens of the capture that no row sees, as padding, and are left out",
       follow<Record, kPath..., &P::first_key>},
      {"softcap", "", "logits become softcap * tanh(logit / softcap); 0 for none",
       follow<Record, kPath..., &P::softcap>},
      {"sinks", "", "1 if the softmax of each head has one more logit, without a value",
       follow<Record, kPath..., &P::sinks>},
  };
}

/// How large it is.
template <class Record, auto... kPath>
std::vector<Column<Record>> shape_columns() {
  using P = ProblemInfo;
  return {
      {"q_heads", "", "query heads", follow<Record, kPath..., &P::shape, &Shape::q_heads>},
      {"kv_heads", "", "KV heads", follow<Record, kPath..., &P::shape, &Shape::kv_heads>},
      {"q_len", "tokens", "query rows", follow<Record, kPath..., &P::shape, &Shape::q_len>},
      {"kv_len", "tokens", "keys", follow<Record, kPath..., &P::shape, &Shape::kv_len>},
      {"head_dim", "", "channels of a head", follow<Record, kPath..., &P::shape, &Shape::head_dim>},
      {"dtype", "", "type of the captured values", follow<Record, kPath..., &P::dtype>},
  };
}

/// Where it comes from.
template <class Record, auto... kPath>
std::vector<Column<Record>> origin_columns() {
  using P = ProblemInfo;
  return {
      {"model", "", "model that was captured", follow<Record, kPath..., &P::model>},
      {"prompt", "", "what was fed to it", follow<Record, kPath..., &P::prompt>},
      {"source", "", "where model and prompt come from", follow<Record, kPath..., &P::source>},
      {"captured_utc", "", "when the capture was made", follow<Record, kPath..., &P::captured_utc>},
      {"attributes", "", "other attributes of the capture, JSON", follow<Record, kPath..., &P::attributes>},
  };
}

/// All of them.
template <class Record, auto... kPath>
std::vector<Column<Record>> problem_columns() {
  using P = ProblemInfo;
  return joined<Record>({{{"id", "", "problem in the capture", follow<Record, kPath..., &P::id>},
                          {"layer", "", "model layer; -1 unknown", follow<Record, kPath..., &P::layer>}},
                         shape_columns<Record, kPath...>(),
                         attention_columns<Record, kPath...>(),
                         origin_columns<Record, kPath...>()});
}

}  // namespace salebench
