// The rows that the algebra knows.
#pragma once

#include <ebb/engine/row/row.h>
#include <ebb/engine/row/structural.h>

namespace ebb {

struct KnownRows {
  const Row& add = kAdd;
  const Row& sub;
  const Row& mul;
  const Row& div;
  const Row& neg;
  const Row& square;
  const Row& reciprocal;
  const Row& mean;
  const Row& gather;
  const Row& scatter_add;
};
const KnownRows& known_rows();

}  // namespace ebb
