#include "datasets/import/import_remarks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <stdexcept>

namespace salebench {
namespace {

constexpr std::uint64_t kMostSums = 1 << 20;
constexpr std::uint64_t kFewestComparedTokens = 16;
/// Of the F statistic, which is about 1 for heads in the right order. On the bundled capture it is at most 1.2 then, at
/// 64 to 8192 tokens, and 4 to 4000 for rows in the other order.
constexpr double kSurelyHeads = 8;

std::string other_layout(std::string layout) {
  std::swap(layout[layout.size() - 3], layout[layout.size() - 2]);
  return layout;
}

bool is_valid(const Shape& shape) {
  try {
    shape.check();
    return true;
  } catch (const std::invalid_argument&) {
    return false;
  }
}

/// "300 of k, 300 of v" for the tensors with such rows, and the fewest of k and v, else of q.
struct ZeroRows {
  std::vector<std::string> counts;
  std::uint64_t tokens = 0;

  void add(const std::string& name, std::uint64_t count, std::uint64_t missing_before) {
    if (count == 0) return;
    counts.push_back(fmt::format("{} of {}", count, name));
    const bool is_first = counts.size() == 1;
    if (name == "q")
      tokens = count + missing_before;
    else
      tokens = is_first || counts[0].ends_with("q") ? count : std::min(tokens, count);
  }
};

}  // namespace

TensorLook::TensorLook(std::uint64_t heads, std::uint64_t len, std::uint64_t dim, bool heads_first)
    : heads_(heads),
      len_(len),
      dim_(dim),
      heads_first_(heads_first),
      compares_heads_(heads_first && heads > 1 && heads * dim <= kMostSums && len >= kFewestComparedTokens),
      token_seen_(len),
      sums_(compares_heads_ ? heads * dim : 0) {}

void TensorLook::add(std::uint64_t first, std::span<const float> values) {
  const std::uint64_t rows = values.size() / dim_;
  for (std::uint64_t i = 0; i < rows; ++i) {
    const std::span<const float> row = values.subspan(i * dim_, dim_);
    const std::uint64_t token = heads_first_ ? (first + i) % len_ : (first + i) / heads_;
    if (!token_seen_[token]) token_seen_[token] = std::ranges::any_of(row, [](float x) { return x != 0; });
    if (!compares_heads_) continue;
    double* sums = &sums_[(first + i) % heads_ * dim_];
    for (std::uint64_t d = 0; d < dim_; ++d) sums[d] += row[d], squares_ += double(row[d]) * row[d];
  }
}

std::uint64_t TensorLook::zeros_at_begin() const {
  return std::uint64_t(std::ranges::find(token_seen_, true) - token_seen_.begin());
}

std::uint64_t TensorLook::zeros_at_end() const {
  return std::uint64_t(std::find(token_seen_.rbegin(), token_seen_.rend(), true) - token_seen_.rbegin());
}

bool TensorLook::looks_tokens_first() const {
  if (!compares_heads_) return false;
  const double rows = double(heads_ * len_);
  double of_groups = 0, of_all = 0;  // squares of the means, times the rows
  for (std::uint64_t d = 0; d < dim_; ++d) {
    double all = 0;
    for (std::uint64_t head = 0; head < heads_; ++head) {
      const double sum = sums_[head * dim_ + d];
      all += sum, of_groups += sum * sum / double(len_);
    }
    of_all += all * all / rows;
  }
  const double between = (of_groups - of_all) / double(heads_ - 1);
  const double within = (squares_ - of_groups) / (rows - double(heads_));
  return within > 0 && between > kSurelyHeads * within;
}

std::vector<std::string> layout_remarks(const Shape& s, const std::string& layout) {
  const std::string other = other_layout(layout);
  if (s.q_heads > s.kv_len)
    return {
        fmt::format("{} heads of {} tokens are more heads than tokens; is the layout {}?", s.q_heads, s.kv_len, other)};
  const Shape swapped = {s.q_len, s.kv_len, s.q_heads, s.kv_heads, s.head_dim};
  if (s.q_heads > 1 && is_valid(swapped) && swapped.q_heads <= swapped.kv_len)
    return {fmt::format("{} heads of {} tokens: the shape fits layout {} as well as {}; make sure of it", s.q_heads,
                        s.kv_len, other, layout)};
  return {};
}

std::vector<std::string> value_remarks(const std::map<std::string, TensorLook>& looks, const Shape& shape,
                                       int first_key, const std::string& layout) {
  std::vector<std::string> remarks;
  ZeroRows begin, end;
  std::vector<std::string> other_order;
  for (const std::string name : {"q", "k", "v"}) {
    const TensorLook& look = looks.at(name);
    if (look.is_zero()) {
      remarks.push_back(fmt::format("{} holds nothing but zeros", name));
      continue;
    }
    begin.add(name, look.zeros_at_begin(), std::uint64_t(name == "q" ? shape.offset() : 0));
    end.add(name, look.zeros_at_end(), 0);
    if (look.looks_tokens_first()) other_order.push_back(name);
  }
  if (begin.tokens > std::uint64_t(first_key))
    remarks.push_back(fmt::format(
        "the first rows are zeros in every head ({}); if the model's mask hides them as padding, --first-key {}",
        fmt::join(begin.counts, ", "), begin.tokens));
  if (end.tokens > 0)
    remarks.push_back(
        fmt::format("the last rows are zeros in every head ({}); if they are padding, measure what comes before them, "
                    "with lengths: [{}] in the config's dataset",
                    fmt::join(end.counts, ", "), std::uint64_t(shape.kv_len - first_key) - end.tokens));
  if (!other_order.empty())
    remarks.push_back(fmt::format(
        "the rows of {} seem to be in the order of layout {}, not {}: a transposed view is saved in its old "
        "order by some programs (safetensors.numpy), so save np.ascontiguousarray(x)",
        fmt::join(other_order, ", "), other_layout(layout), layout));
  return remarks;
}

}  // namespace salebench
