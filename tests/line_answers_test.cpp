// Figures of the authors' own estimators on the bundled capture, read as float32: MInference's vertical-slash,
// FlexPrefill and XAttention. Means over the three heads.
#include <gtest/gtest.h>

#include "tests/sample.h"

namespace salebench {
namespace {

struct Answer {
  const char* method;
  ParamValues values;
  double density, recall;
};

void PrintTo(const Answer& answer, std::ostream* out) {
  *out << answer.method << " " << param_text(answer.values);
}

class LineAnswers : public testing::TestWithParam<Answer> {};

TEST_P(LineAnswers, AreThoseOfTheAuthorsCode) {
  const Answer& answer = GetParam();
  const ProblemAccuracy a = sample_accuracy(select_mask(sample_problem(), answer.method, answer.values));
  double density = 0, recall = 0;
  for (const Accuracy& head : a.heads) density += head.density / 3, recall += head.recall_mean / 3;
  EXPECT_NEAR(density, answer.density, 0.003 * answer.density);
  EXPECT_NEAR(recall, answer.recall, 5e-4);
}

INSTANTIATE_TEST_SUITE_P(
    At8192, LineAnswers,
    testing::Values(Answer{"vertical_slash", {{"vertical", "100"}, {"slash", "800"}}, 0.8005, 0.9985},
                    Answer{"vertical_slash", {{"vertical", "512"}, {"slash", "2048"}}, 0.9323, 0.9999},
                    Answer{"flexprefill", {{"gamma", "0.9"}, {"tau", "0.1"}}, 0.2350, 0.9160},
                    Answer{"flexprefill", {{"gamma", "0.9"}, {"tau", "0.7"}}, 0.3479, 0.9642},
                    Answer{"xattention", {{"stride", "8"}, {"tau", "0.9"}}, 0.3373, 0.9605},
                    Answer{"xattention", {{"stride", "16"}, {"tau", "0.9"}}, 0.3276, 0.9562}));

}  // namespace
}  // namespace salebench
