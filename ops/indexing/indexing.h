// The family of rows that move elements: gather and scatter_add, slice, pad and concat, permute.
#pragma once

#include <ebb/ops/indexing/gather.h>
#include <ebb/ops/indexing/iota.h>
#include <ebb/ops/indexing/permute.h>
#include <ebb/ops/indexing/slice.h>

namespace ebb {

std::span<const Row* const> indexing_rows();

}  // namespace ebb
