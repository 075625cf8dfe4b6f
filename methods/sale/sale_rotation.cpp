#include "methods/sale/sale_rotation.h"

#include <Eigen/Dense>

namespace salebench::sale {
namespace {

using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Eigen::Map<const Rows> as_rows(const std::vector<float>& x, int dim) {
  return {x.data(), Eigen::Index(x.size()) / dim, dim};
}

Eigen::MatrixXd second_moment(const std::vector<float>& x, int dim) {
  const Eigen::MatrixXd rows = as_rows(x, dim).cast<double>();
  return rows.transpose() * rows / double(rows.rows());
}

std::vector<float> to_vector(const Eigen::MatrixXd& matrix) {
  std::vector<float> out(std::size_t(matrix.size()));
  Eigen::Map<Rows>(out.data(), matrix.rows(), matrix.cols()) = matrix.cast<float>();
  return out;
}

}  // namespace

Rotation make_rotation(const std::vector<float>& q, const std::vector<float>& k, int dim, int channels) {
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> of_q(second_moment(q, dim));
  const Eigen::MatrixXd& basis = of_q.eigenvectors();
  const double largest = std::max(of_q.eigenvalues().maxCoeff(), 1e-30);
  const Eigen::VectorXd root = of_q.eigenvalues().cwiseMax(1e-4 * largest).cwiseSqrt();
  const Eigen::MatrixXd half = basis * root.asDiagonal() * basis.transpose();
  const Eigen::MatrixXd inverse_half = basis * root.cwiseInverse().asDiagonal() * basis.transpose();
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> both(half * second_moment(k, dim) * half);
  // Eigen sorts upwards.
  const Eigen::MatrixXd first = both.eigenvectors().rowwise().reverse().leftCols(channels);
  return {dim, channels, to_vector(inverse_half * first), to_vector(half * first)};
}

std::vector<float> rotate(const std::vector<float>& x, const std::vector<float>& matrix, int dim, int channels) {
  std::vector<float> out(x.size() / std::size_t(dim) * std::size_t(channels));
  Eigen::Map<Rows>(out.data(), Eigen::Index(x.size()) / dim, channels).noalias() =
      as_rows(x, dim) * as_rows(matrix, channels);
  return out;
}

}  // namespace salebench::sale
