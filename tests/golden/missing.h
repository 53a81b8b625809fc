// The golden operations that Ebb does not have yet. A case is skipped only if it needs one of these; a name leaves the
// list when its operation arrives, and none is added.
#pragma once

#include <string_view>

namespace ebb::test {

inline constexpr std::string_view kMissingOps[] = {
    "conv2d",
    "flip",
    "index_select",
    "layer_norm",
    "pad mode=reflect",
    "pad mode=replicate",
    "roll",
    "select",
    "squeeze",
    "stack",
    "tile",
    "tril",
    "triu",
    "unsqueeze",
};

/// The layers and optimizers of the families `training` and `optim` that Ebb does not have yet.
inline constexpr std::string_view kMissingTraining[] = {
    "adagrad", "adam", "adamw", "clip", "conv2d", "global_avg_pool", "max_pool2d", "rmsprop",
};

}  // namespace ebb::test
