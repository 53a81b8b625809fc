// The family of rows that move elements: gather and scatter_add, slice, pad and concat, permute and flip; and what is
// made of them.
#pragma once

#include <ebb/ops/indexing/gather.h>
#include <ebb/ops/indexing/iota.h>
#include <ebb/ops/indexing/permute.h>
#include <ebb/ops/indexing/rearrange.h>
#include <ebb/ops/indexing/slice.h>

namespace ebb {

std::span<const Row* const> indexing_rows();

}  // namespace ebb
