// Compiled without contraction of a * b + c into one rounding; see CMakeLists.txt.
#include "datasets/synthetic/synthetic_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace salebench {
namespace {

/// What random numbers are for; 0 to 2 are the tensors. A new purpose gets a new number, or files change.
enum Stream : std::uint32_t { kStrengths = 16, kDirections, kImportance, kPassages, kNeedles };

constexpr int kSinks = 4, kTopics = 64, kNeedleKeys = 8, kQuestionRows = 16, kTokensPerNeedle = 1024;
constexpr int kMinPassage = 16, kMaxPassage = 256;
constexpr int kMinSlash = 32, kMaxSlash = 2048;
constexpr double kMinPeriod = 32, kMaxPeriod = 1024;
constexpr double kColumnRate = 1.0 / 128;
constexpr float kSinkValue = 0.1f;  ///< values of sink tokens are small, as in real models

/// row += factor * direction
void add(float factor, std::span<const float> direction, std::span<float> row) {
  for (std::size_t d = 0; d < row.size(); ++d) row[d] += factor * direction[d];
}

double dot(std::span<const float> a, std::span<const float> b) {
  double sum = 0;
  for (std::size_t d = 0; d < a.size(); ++d) sum += double(a[d]) * b[d];
  return sum;
}

}  // namespace

std::vector<double> rope_frequencies(int head_dim, double theta) {
  std::vector<double> frequencies;
  const double log_theta = portable::log(theta);
  for (int pair = 0; pair < head_dim / 2; ++pair)
    frequencies.push_back(portable::exp(-log_theta * (2.0 * pair / head_dim)));
  return frequencies;
}

void rotate(std::span<float> row, double position, std::span<const double> frequencies) {
  const std::size_t pairs = frequencies.size();
  for (std::size_t pair = 0; pair < pairs; ++pair) {
    const portable::SinCos angle = portable::sin_cos(position * frequencies[pair]);
    const double x = row[pair], y = row[pair + pairs];
    row[pair] = float(x * angle.cos - y * angle.sin);
    row[pair + pairs] = float(x * angle.sin + y * angle.cos);
  }
}

SyntheticModel::SyntheticModel(const SyntheticOptions& options, std::uint64_t seed)
    : options_(options), random_(seed), frequencies_(rope_frequencies(options.head_dim, options.rope_theta)) {
  if (options_.kind == "normal") return;
  make_text();
  for (int head = 0; head < options_.kv_heads; ++head) kv_heads_.push_back(make_kv_head(head));
  for (int head = 0; head < options_.q_heads; ++head) q_heads_.push_back(make_q_head(head));
}

/// An integer from [low, high), evenly in its logarithm.
int SyntheticModel::draw(std::uint32_t stream, std::uint32_t index, double low, double high) const {
  const double share = random_.uniform(stream, 0, index, 0);
  return int(low * portable::exp(share * portable::log(high / low)));
}

/// Passages with their topics, and where needles lie and are asked for; common to all heads.
void SyntheticModel::make_text() {
  const int length = options_.length;
  topic_of_.resize(std::size_t(length));
  for (int begin = 0, passage = 0; begin < length; ++passage) {
    const int end = std::min(length, begin + draw(kPassages, std::uint32_t(passage), kMinPassage, kMaxPassage));
    const double share = random_.uniform(kPassages, 0, std::uint32_t(passage), 1);
    std::fill(topic_of_.begin() + begin, topic_of_.begin() + end, std::uint8_t(kTopics * share * share));
    begin = end;
  }
  needle_of_.assign(std::size_t(length), -1);
  asked_for_.assign(std::size_t(length), -1);
  const int needles = length / kTokensPerNeedle;
  for (int needle = 0; needle < needles; ++needle) {
    const int last = length - kQuestionRows;  // the first row of the last question
    const auto place = [&](std::uint32_t column, int low, int high) {
      return low + int(random_.uniform(kNeedles, 0, std::uint32_t(needle), column) * (high - low));
    };
    const int question = needle == 0 ? last : place(0, kTokensPerNeedle / 2, last);
    const int key = place(1, kSinks, question - kNeedleKeys);
    std::fill_n(needle_of_.begin() + key, kNeedleKeys, std::int16_t(needle));
    std::fill_n(asked_for_.begin() + question, kQuestionRows, std::int16_t(needle));
  }
}

/// A random unit vector within rotary pairs [first_pair, end_pair), at right angles to the unit vectors of `others`.
SyntheticModel::Vector SyntheticModel::direction(std::uint32_t which, int head, int first_pair, int end_pair,
                                                 std::initializer_list<const Vector*> others) const {
  const int pairs = options_.head_dim / 2;
  Vector v(std::size_t(options_.head_dim));
  random_.normal(kDirections, std::uint32_t(head), which, v);
  for (int pair = 0; pair < pairs; ++pair)
    if (pair < first_pair || pair >= end_pair) v[pair] = v[pair + pairs] = 0;
  for (const Vector* other : others) add(float(-dot(v, *other)), *other, v);
  const double size = std::sqrt(dot(v, v));
  for (float& x : v) x = float(x / size);
  return v;
}

/// A unit vector within the first `count` rotary pairs, as much in each, at random angles.
SyntheticModel::Vector SyntheticModel::equal_pairs(std::uint32_t which, int head, int count) const {
  const std::size_t pairs = frequencies_.size();
  Vector v(2 * pairs);
  random_.normal(kDirections, std::uint32_t(head), which, v);
  for (std::size_t pair = 0; pair < pairs; ++pair) {
    const double x = v[pair], y = v[pair + pairs];
    const double factor = pair < std::size_t(count) ? 1 / std::sqrt((x * x + y * y) * count) : 0;
    v[pair] = float(x * factor);
    v[pair + pairs] = float(y * factor);
  }
  return v;
}

SyntheticModel::KvHead SyntheticModel::make_kv_head(int head) const {
  const int pairs = options_.head_dim / 2, slow = pairs - std::max(2, pairs / 4);
  KvHead kv;
  kv.u = equal_pairs(0, head, pairs / 2);
  kv.sink = direction(1, head, pairs - std::max(1, pairs / 8), pairs, {});
  kv.column = direction(2, head, slow, pairs, {&kv.sink});
  for (int topic = 0; topic < kTopics; ++topic)
    kv.topics.push_back(direction(std::uint32_t(16 + topic), head, pairs / 2, pairs, {&kv.sink, &kv.column}));
  for (int needle = 0; needle < options_.length / kTokensPerNeedle; ++needle)
    kv.needles.push_back(direction(std::uint32_t(1024 + needle), head, slow, pairs, {&kv.sink, &kv.column}));
  return kv;
}

SyntheticModel::QHead SyntheticModel::make_q_head(int head) const {
  std::uint32_t column = 0;
  const auto even = [&](StrengthRange range) {
    return float(range.low + (range.high - range.low) * random_.uniform(kStrengths, std::uint32_t(head), 0, column++));
  };
  const SyntheticOptions& o = options_;
  QHead q;
  q.sink = even(o.sink), q.local = even(o.local), q.slash = even(o.slash), q.periodic = even(o.periodic);
  q.column = even(o.column), q.topic = even(o.topic), q.needle = even(o.needle), q.noise = even(o.noise);
  q.slash_offset = draw(kStrengths, std::uint32_t(1 + 2 * head), kMinSlash, kMaxSlash);
  const int period = draw(kStrengths, std::uint32_t(2 + 2 * head), kMinPeriod, kMaxPeriod);

  const int pairs = o.head_dim / 2;
  while (q.periodic_pair + 1 < pairs / 2 && frequencies_[q.periodic_pair] * period > 2 * std::numbers::pi)
    ++q.periodic_pair;
  const KvHead& kv = kv_heads_[std::size_t(head / (o.q_heads / o.kv_heads))];
  Vector slash = kv.u, one_pair(std::size_t(o.head_dim));
  rotate(slash, -q.slash_offset, frequencies_);
  for (const int d : {q.periodic_pair, q.periodic_pair + pairs})  // u has pairs / 2 equal pairs
    one_pair[std::size_t(d)] = kv.u[std::size_t(d)] * float(std::max(1, pairs / 2));
  q.constant.resize(std::size_t(o.head_dim));
  add(q.local, kv.u, q.constant);
  add(q.slash, slash, q.constant);
  add(q.periodic, one_pair, q.constant);
  add(q.column, kv.column, q.constant);
  add(q.sink, kv.sink, q.constant);
  return q;
}

/// How much every query heeds a key: 0 for most, up to 1.
float SyntheticModel::importance(int head, int key) const {
  const double rank = random_.uniform(kImportance, std::uint32_t(head), std::uint32_t(key), 0);
  return rank < kColumnRate ? float(1 - rank / kColumnRate) : 0.0f;
}

void SyntheticModel::make_query(int head, int position, std::span<float> row) const {
  const QHead& q = q_heads_[std::size_t(head)];
  const KvHead& kv = kv_heads_[std::size_t(head / (options_.q_heads / options_.kv_heads))];
  for (float& x : row) x *= q.noise;
  add(1, q.constant, row);
  add(q.topic, kv.topics[topic_of_[std::size_t(position)]], row);
  if (const int needle = asked_for_[std::size_t(position)]; needle >= 0)
    add(q.needle, kv.needles[std::size_t(needle)], row);
  rotate(row, position, frequencies_);
}

void SyntheticModel::make_key(int head, int position, std::span<float> row) const {
  const KvHead& kv = kv_heads_[std::size_t(head)];
  const float size = float(std::sqrt(double(options_.head_dim)));
  add(size, kv.u, row);
  add(size, kv.topics[topic_of_[std::size_t(position)]], row);
  if (const float factor = importance(head, position); factor > 0) add(size * factor, kv.column, row);
  if (position < kSinks) add(size, kv.sink, row);
  if (const int needle = needle_of_[std::size_t(position)]; needle >= 0)
    add(size, kv.needles[std::size_t(needle)], row);
  rotate(row, position, frequencies_);
}

void SyntheticModel::make_row(SyntheticTensor tensor, int head, int position, std::span<float> row) const {
  random_.normal(std::uint32_t(tensor), std::uint32_t(head), std::uint32_t(position), row);
  if (options_.kind == "normal") return;
  if (tensor == SyntheticTensor::kQ) {
    make_query(head, position, row);
  } else if (tensor == SyntheticTensor::kK) {
    make_key(head, position, row);
  } else if (position < kSinks) {
    for (float& x : row) x *= kSinkValue;
  }
}

std::string SyntheticModel::heads_text() const {
  std::string text;
  for (std::size_t head = 0; head < q_heads_.size(); ++head) {
    const QHead& q = q_heads_[head];
    text += fmt::format(
        "{}: sink {:.2f} local {:.2f} slash {:.2f} at {} periodic {:.2f} every {:.0f} column {:.2f} "
        "topic {:.2f} needle {:.2f} noise {:.2f}\n",
        head, q.sink, q.local, q.slash, q.slash_offset, q.periodic,
        2 * std::numbers::pi / frequencies_[std::size_t(q.periodic_pair)], q.column, q.topic, q.needle, q.noise);
  }
  return text;
}

}  // namespace salebench
