// Ebb, whole: tensors and tapes, ops, layers and training.
#pragma once

#include <ebb/engine/dump/dump.h>
#include <ebb/engine/dump/graph.h>
#include <ebb/engine/error.h>
#include <ebb/engine/tape/grad.h>
#include <ebb/engine/tape/structural.h>
#include <ebb/engine/tape/tape.h>
#include <ebb/engine/tensor/tensor.h>
#include <ebb/engine/threads/pool.h>
#include <ebb/ops/batch_norm/batch_norm.h>
#include <ebb/ops/elementwise/elementwise.h>
#include <ebb/ops/indexing/indexing.h>
#include <ebb/ops/linalg/matmul.h>
#include <ebb/ops/loss/cross_entropy.h>
#include <ebb/ops/reduction/reduction.h>
#include <ebb/ops/rows.h>
