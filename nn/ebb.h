// Ebb, whole: tensors and tapes, ops, layers and training.
#pragma once

#include <ebb/engine/error.h>
#include <ebb/engine/random/philox.h>
#include <ebb/engine/tape/grad.h>
#include <ebb/engine/tape/structural.h>
#include <ebb/engine/tape/tape.h>
#include <ebb/engine/tensor/tensor.h>
#include <ebb/engine/threads/pool.h>
#include <ebb/nn/data/dataset.h>
#include <ebb/nn/data/digits.h>
#include <ebb/nn/init.h>
#include <ebb/nn/layers/activation.h>
#include <ebb/nn/layers/batch_norm.h>
#include <ebb/nn/layers/linear.h>
#include <ebb/nn/layers/sequential.h>
#include <ebb/nn/module.h>
#include <ebb/nn/optim/sgd.h>
#include <ebb/nn/training.h>
#include <ebb/ops/batch_norm/batch_norm.h>
#include <ebb/ops/elementwise/elementwise.h>
#include <ebb/ops/indexing/indexing.h>
#include <ebb/ops/linalg/matmul.h>
#include <ebb/ops/loss/cross_entropy.h>
#include <ebb/ops/reduction/reduction.h>
#include <ebb/ops/rows.h>
