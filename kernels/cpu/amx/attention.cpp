// Scores are computed transposed, S^T = K Q^T, so that a vector holds one key's scores of 16 query rows and a row's
// maximum and sum need no horizontal steps; then P^T, in pairs of keys, is the right operand of O^T = V^T P^T.
//
// P goes to the tiles as two bfloat16 parts, 16 bits in all, an error of 2.5e-6; the row sums use P itself. P = 2^(s -
// shift) with a shift that stays where the row's first visible keys put it, until a sum grows beyond 2^30: float32 has
// range enough for that, and a running maximum would cost a vector instruction in 13.
//
// An item is up to 2 panels of keys for a group of 32 rows. While the vector units turn its scores into weights, the
// tile unit multiplies the weights of the item before by V and computes the scores of the item after.
#include "kernels/cpu/amx/attention.h"

#include <immintrin.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "hwy/base.h"
#include "kernels/cpu/amx/ahead.h"
#include "kernels/cpu/amx/schedule.h"
#include "kernels/cpu/amx/seen.h"
#include "kernels/cpu/amx/weights.h"

HWY_PUSH_ATTRIBUTES("avx512f,avx512bw,avx512dq,avx512vl,prfchw")
namespace salebench::cpu {
namespace {

constexpr float kLargestSum = 1 << 30;
constexpr float kLn2 = 0.693147180559945309f;

struct Item {
  int group = 0, first = 0, count = 0;  ///< panels [first, first + count) of the task's visits
};

/// What is known so far of a group's 32 rows, before the division by the sums.
struct Group {
  GroupLimits limits;
  float shift[kAmxGroup], sum[kAmxGroup];
  const std::byte* queries;
  float* output;  ///< [head_dim padded, 32]
};

/// One task's buffers and its pipeline of items.
class Attend {
 public:
  Attend(const AmxTask& task, AmxWorkspace& work);
  void run();

 private:
  using Weigh = void (Attend::*)(RowState&);
  static constexpr int kMaxGroups = kAmxRowTile / kAmxGroup;

  float* scores(int item, int panel) const { return scores_ + (item % 2 * kItemPanels + panel) * kPanelScores; }
  std::byte* weights(int item, int panel) const { return weights_ + (item % 2 * kItemPanels + panel) * kWeightBytes; }
  /// The next item in order of panels, then groups; one without panels after the last.
  Item next(Item item) const;
  void queue_scores(const Item& item, int index);
  void queue_outputs(const Item& item, int index);
  void mark_seen();
  void weigh_slow(RowState& state);
  template <class Products>
  void weigh_fast(RowState& state);
  RowState row_state() const;
  void turn();
  template <int kParts, int kValues>
  Weigh version_of_depth() const;
  Weigh fast_version() const;
  void move_shift(const __mmask16 rows[2]);
  void write_results();

  SeenKeys seen_[kItemPanels];  ///< of the item now
  const AmxTask& task_;
  AmxWorkspace& work_;
  int groups_, query_parts_;
  float* scores_;
  std::byte* weights_;
  Group group_[kMaxGroups];
  TileQueue queue_;
  Item before_, now_, after_;
  int index_ = 0;  ///< of the item now
  Weigh fast_ = nullptr;
};

Attend::Attend(const AmxTask& task, AmxWorkspace& work)
    : task_(task), work_(work), groups_((task.rows + kAmxGroup - 1) / kAmxGroup) {
  const int depth_tiles = task.kv->depth_tiles;
  query_parts_ = bfloat16_parts(task.q, std::size_t(task.rows) * task.dim, kAmxKeyParts);
  const std::size_t score_bytes = 2 * kItemPanels * kPanelScores * sizeof(float);
  const std::size_t weight_bytes = 2 * kItemPanels * kWeightBytes;
  const std::size_t query_bytes = std::size_t(query_parts_) * depth_tiles * 2 * kTileBytes;
  const std::size_t output_bytes = std::size_t(depth_tiles) * kAmxDepth * kAmxGroup * sizeof(float);
  std::byte* at = work.memory.reserve(score_bytes + weight_bytes + groups_ * (query_bytes + output_bytes));
  scores_ = reinterpret_cast<float*>(at);
  weights_ = at + score_bytes;
  at += score_bytes + weight_bytes;
  for (int g = 0; g < groups_; ++g) {
    Group& group = group_[g];
    group.limits = group_limits(task, g);
    std::fill_n(group.shift, kAmxGroup, kMinusInfinity);
    std::fill_n(group.sum, kAmxGroup, 0.0f);
    group.queries = at;
    const int rows = std::min(kAmxGroup, task.rows - g * kAmxGroup);
    pack_query_group(task.q + std::size_t(g) * kAmxGroup * task.dim, rows, task.dim, query_parts_, at);
    group.output = reinterpret_cast<float*>(at + query_bytes);
    std::fill_n(group.output, output_bytes / sizeof(float), 0.0f);
    at += query_bytes + output_bytes;
  }
  if (!work.programs) work.programs = std::make_shared<TilePrograms>();
  work.programs->build({depth_tiles, task.kv->key_parts, query_parts_, task.kv->value_parts});
  if (task.output) fast_ = fast_version();
}

Item Attend::next(Item item) const {
  do {
    if (++item.group >= groups_) item.group = 0, item.first += kItemPanels;
    item.count = std::clamp(group_[item.group].limits.visits - item.first, 0, kItemPanels);
  } while (item.count == 0 && item.first < int(task_.visits->panels.size()));
  return item;
}

void Attend::queue_scores(const Item& item, int index) {
  for (int i = 0; i < item.count; ++i)
    queue_.add({&work_.programs->scores,
                {task_.kv->panel_keys(task_.kv_head, task_.visits->panels[item.first + i])},
                group_[item.group].queries,
                reinterpret_cast<std::byte*>(scores(index, i))});
}

void Attend::queue_outputs(const Item& item, int index) {
  TileSegment segment = {&work_.programs->outputs[item.count - 1],
                         {},
                         weights(index, 0),
                         reinterpret_cast<std::byte*>(group_[item.group].output)};
  for (int i = 0; i < item.count; ++i)
    segment.a[i] = task_.kv->panel_values(task_.kv_head, task_.visits->panels[item.first + i]);
  queue_.add(segment);
}

void Attend::mark_seen() {
  for (int i = 0; i < now_.count; ++i) {
    const int panel = task_.visits->panels[now_.first + i];
    if (may_need_mask(task_, group_[now_.group].limits, panel))
      seen_[i] = seen_keys(task_, now_.group, panel);
    else
      seen_[i].all = true;
  }
}

/// Weights of a full item that no mask touches.
template <class Products>
void Attend::weigh_fast(RowState& state) {
  ScheduleData data;
  for (int i = 0; i < kItemPanels; ++i) {
    data.keys[i] = task_.kv->panel_keys(task_.kv_head, task_.visits->panels[after_.first + i]);
    data.values[i] = task_.kv->panel_values(task_.kv_head, task_.visits->panels[before_.first + i]);
  }
  data.ahead = panels_ahead(task_, after_.group, after_.first + kItemPanels);
  data.queries = group_[after_.group].queries;
  data.weights = weights(index_ + 1, 0);
  data.scores = reinterpret_cast<std::byte*>(scores(index_ + 1, 0));
  data.output = reinterpret_cast<std::byte*>(group_[before_.group].output);
  RowState rows = state;  // a copy, so that it stays in registers
  weigh_scheduled<Products, 0>(data, scores(index_, 0), weights(index_, 0), rows);
  state = rows;
}

/// Sets the shift of the marked rows to their maximum in this item, and rescales what they have so far. No product of
/// the group may be waiting that would add to the output with the old shift, unless the sum so far is 0.
void Attend::move_shift(const __mmask16 rows[2]) {
  Group& group = group_[now_.group];
  const __m512 factor = _mm512_set1_ps(task_.factor);
  __m512 most[2] = {_mm512_set1_ps(kMinusInfinity), _mm512_set1_ps(kMinusInfinity)};
  for (int i = 0; i < now_.count; ++i)
    seen_[i].all ? panel_maximum<false>(scores(index_, i), factor, seen_[i], most)
                 : panel_maximum<true>(scores(index_, i), factor, seen_[i], most);
  for (int half = 0; half < 2; ++half) {
    float* const shift = group.shift + half * 16;
    const __m512 old = _mm512_loadu_ps(shift);
    const __mmask16 moved = rows[half] & _mm512_cmp_ps_mask(most[half], old, _CMP_GT_OQ);
    if (!moved) continue;
    _mm512_mask_storeu_ps(shift, moved, most[half]);
    const __m512 rescale = exp2_lanes(_mm512_maskz_sub_ps(moved, old, most[half]));
    _mm512_storeu_ps(group.sum + half * 16, _mm512_mul_ps(_mm512_loadu_ps(group.sum + half * 16), rescale));
    const __mmask16 summed = _mm512_cmp_ps_mask(old, _mm512_set1_ps(kMinusInfinity), _CMP_NEQ_OQ) & moved;
    for (int channel = 0; summed && channel < task_.kv->depth_tiles * kAmxDepth; ++channel) {
      float* const at = group.output + channel * kAmxGroup + half * 16;
      _mm512_store_ps(at, _mm512_mul_ps(_mm512_load_ps(at), rescale));
    }
  }
}

template <int kParts, int kValues>
auto Attend::version_of_depth() const -> Weigh {
  switch (task_.kv->depth_tiles) {
    case 2:
      return &Attend::weigh_fast<Schedule<2, kParts, kParts, kValues>>;
    case 4:
      return &Attend::weigh_fast<Schedule<4, kParts, kParts, kValues>>;
    default:
      return nullptr;
  }
}

/// The schedule for this shape, if there is one.
auto Attend::fast_version() const -> Weigh {
  const int parts = task_.kv->key_parts, value_parts = task_.kv->value_parts;
  if (parts != query_parts_ || value_parts != std::min(parts, kAmxValueParts)) return nullptr;
  return parts == 1 ? version_of_depth<1, 1>() : parts == 2 ? version_of_depth<2, 2>() : version_of_depth<3, 2>();
}

/// Weights of any item, with the queue's products spread over them.
void Attend::weigh_slow(RowState& state) {
  queue_.spread_over(now_.count * kPanelKeys / 2);
  for (int i = 0; i < now_.count; ++i) {
    const float* const s = scores(index_, i);
    std::byte* const out = weights(index_, i);
    if (task_.output)
      seen_[i].all ? weigh_panel<false, true>(s, seen_[i], state, queue_, out)
                   : weigh_panel<true, true>(s, seen_[i], state, queue_, out);
    else
      seen_[i].all ? weigh_panel<false, false>(s, seen_[i], state, queue_, out)
                   : weigh_panel<true, false>(s, seen_[i], state, queue_, out);
  }
  queue_.finish();
}

/// Where the rows of this item stand, with nothing summed yet.
RowState Attend::row_state() const {
  const float* const shift = group_[now_.group].shift;
  return {_mm512_set1_ps(task_.factor), _mm512_loadu_ps(shift), _mm512_loadu_ps(shift + 16), _mm512_setzero_ps(),
          _mm512_setzero_ps()};
}

/// One turn of the pipeline: weights of this item, outputs of the one before, scores of the one after.
void Attend::turn() {
  Group& group = group_[now_.group];
  mark_seen();
  const __m512 none = _mm512_set1_ps(kMinusInfinity), largest = _mm512_set1_ps(kLargestSum);
  const __mmask16 fresh[2] = {_mm512_cmp_ps_mask(_mm512_loadu_ps(group.shift), none, _CMP_EQ_OQ),
                              _mm512_cmp_ps_mask(_mm512_loadu_ps(group.shift + 16), none, _CMP_EQ_OQ)};
  if (fresh[0] | fresh[1]) move_shift(fresh);
  RowState state = row_state();
  const bool full = before_.count == kItemPanels && now_.count == kItemPanels && after_.count == kItemPanels;
  if (fast_ && full && seen_[0].all && seen_[1].all) {
    queue_.flush();
    (this->*fast_)(state);
  } else {
    if (after_.count > 0) queue_scores(after_, index_ + 1);  // first, so that they are stored before they are wanted
    if (before_.count > 0 && task_.output) queue_outputs(before_, index_ - 1);
    weigh_slow(state);
  }
  const __mmask16 grown[2] = {_mm512_cmp_ps_mask(state.sum0, largest, _CMP_NLE_UQ),
                              _mm512_cmp_ps_mask(state.sum1, largest, _CMP_NLE_UQ)};
  if (grown[0] | grown[1] || !task_.output || before_.count == 0) queue_.flush();
  if (grown[0] | grown[1]) {
    move_shift(grown);
    state = row_state();
    weigh_slow(state);
  }
  _mm512_storeu_ps(group.sum, _mm512_add_ps(_mm512_loadu_ps(group.sum), state.sum0));
  _mm512_storeu_ps(group.sum + 16, _mm512_add_ps(_mm512_loadu_ps(group.sum + 16), state.sum1));
}

void Attend::write_results() {
  for (int g = 0; g < groups_; ++g) {
    const Group& group = group_[g];
    const int begin = g * kAmxGroup, rows = std::min(kAmxGroup, task_.rows - begin);
    float inverse[kAmxGroup];
    for (int r = 0; r < kAmxGroup; ++r) inverse[r] = group.sum[r] > 0 ? 1 / group.sum[r] : 0.0f;
    for (int r = 0; r < rows; ++r)
      task_.lse[begin + r] = group.sum[r] > 0 ? (group.shift[r] + std::log2(group.sum[r])) * kLn2 : kMinusInfinity;
    if (task_.output)
      unpack_output_group(group.output, inverse, rows, task_.dim, task_.output + std::size_t(begin) * task_.dim);
  }
}

void Attend::run() {
  after_ = next({-1, 0, 0});
  if (after_.count > 0) queue_scores(after_, 0);
  queue_.finish();
  queue_.flush();
  int turns = 0;
  for (int g = 0; g < groups_; ++g) turns += (group_[g].limits.visits + kItemPanels - 1) / kItemPanels;
  const std::size_t size = std::size_t(task_.rows) * task_.dim;
  LinesAhead<true> output(task_.output, size, turns);
  LinesAhead<false> queries(task_.next_q, size, turns);
  for (index_ = 0; after_.count > 0; ++index_) {
    before_ = now_;
    now_ = after_;
    after_ = next(now_);
    turn();
    output.advance();
    queries.advance();
  }
  if (now_.count > 0 && task_.output) queue_outputs(now_, index_ - 1);
  queue_.finish();
  queue_.flush();
  write_results();
}

}  // namespace

void amx_attend_tile(const AmxTask& task, AmxWorkspace& work) {
  Attend(task, work).run();
}

}  // namespace salebench::cpu
HWY_POP_ATTRIBUTES
