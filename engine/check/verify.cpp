#include <ebb/engine/check/verify.h>
#include <ebb/engine/row/structural.h>
#include <fmt/format.h>

#include <bit>
#include <vector>

namespace ebb {
namespace {

class Verifier {
 public:
  explicit Verifier(const Tape& tape) : tape_(tape) {}

  void run() {
    check_scopes();
    for (id_ = 0; id_ < tape_.size(); ++id_) {
      check_place();
      check_type();
      check_value();
    }
    check_names();
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    const Node& node = tape_.node(id_);
    const std::string where = node.where ? fmt::format(" ({})", to_string(node.where)) : "";
    throw Error(fmt::format("verify: %{} {}: {}.{}", id_, node.row ? node.row->name : "without a row", what, where));
  }
  void require(bool holds, std::string_view what) const {
    if (!holds) fail(std::string(what));
  }

  void check_scopes() const {
    for (std::size_t i = 1; i < tape_.scopes().size(); ++i) {
      if (tape_.scopes()[i].parent >= i) {
        throw Error(
            fmt::format("verify: scope {} has the parent {}, which stands behind it.", i, tape_.scopes()[i].parent));
      }
    }
  }

  void check_place() const {
    const Node& node = tape_.node(id_);
    require(node.row != nullptr, "every node has a row");
    if (node.row->arity >= 0 && node.inputs != static_cast<std::uint32_t>(node.row->arity)) {
      fail(fmt::format("it has {} inputs, its row takes {}", node.inputs, node.row->arity));
    }
    if (std::size_t{node.first_input} + node.inputs > tape_.mark().edges) fail("its inputs lie outside of the edges");
    for (std::size_t i = 0; i < node.inputs; ++i) {
      if (tape_.input(node, i) >= id_) {
        fail(fmt::format("input {} is %{}, which does not stand before it", i, tape_.input(node, i)));
      }
    }
    if (node.scope >= tape_.scopes().size()) fail(fmt::format("its scope {} does not exist", node.scope));
    if (node.origin != kNoNode && node.origin >= id_) {
      fail(fmt::format("it is said to be of the derivative of %{}, which does not stand before it", node.origin));
    }
    for (const Attr& attr : node.attrs) require(!attr.name.empty(), "an attribute has no name");
  }

  void check_type() const {
    const Node& node = tape_.node(id_);
    if (!node.row->type) {
      require(node.inputs == 0, "its row has no type rule");
      return;
    }
    std::vector<NodeId> inputs;
    for (std::size_t i = 0; i < node.inputs; ++i) inputs.push_back(tape_.input(node, i));
    TensorType type;
    try {
      type = node.row->type(Call(tape_, *node.row, inputs, Attrs(node.attrs), node.where));
    } catch (const Error& error) {
      fail(fmt::format("its type rule refuses it: {}", error.what()));
    }
    if (type.shape != node.value.shape() || type.dtype != node.value.dtype()) {
      fail(fmt::format("it is {}, its type rule says {}{}", describe(node.value), name(type.dtype),
                       to_string(type.shape)));
    }
  }

  void check_value() const {
    const Node& node = tape_.node(id_);
    const bool traced = tape_.mode() == Tape::Mode::trace;
    switch (node.presence) {
      case Presence::computed:
        require(node.value.has_buffer(), "its value is marked as computed, and is not there");
        break;
      case Presence::pending:
        require(!traced, "it waits for the tape's open loop, and the tape only traces");
        require(!node.value.has_buffer(), "its value is marked as pending, and is there");
        break;
      case Presence::lazy:
        require(node.lazy != kNoNode, "its value is marked as lazy, and there is nothing to make it of");
        require(!node.value.has_buffer(), "its value is marked as lazy, and is there");
        break;
      case Presence::unstored:
        require(!traced, "it is computed again by every loop that reads it, and the tape only traces");
        require(!node.value.has_buffer(), "its value is marked as unstored, and is there");
        break;
      case Presence::traced:
        require(traced, "it has no value, and the tape is eager");
        require(!node.value.has_buffer(), "its value is marked as traced, and is there");
        break;
      case Presence::released:
        require(!node.value.has_buffer(), "its value is marked as released, and is there");
        break;
    }
    if (node.row == &kConstant) {
      const double value = Attrs(node.attrs).real("value");
      const double held = Tensor::full({}, value, node.value.dtype()).item();
      require(std::bit_cast<std::uint64_t>(held) == std::bit_cast<std::uint64_t>(node.value.item()),
              "its value is not its attribute");
    }
  }

  void check_names() {
    NodeId before = 0;
    for (std::size_t i = 0; i < tape_.names().size(); ++i) {
      const NameEntry& entry = tape_.names()[i];
      if (entry.node >= tape_.size()) {
        throw Error(fmt::format("verify: name {} is that of %{}, which does not exist.", i, entry.node));
      }
      id_ = entry.node;
      require(tape_.node(id_).named, "it has a name, and is marked as having none");
      require(entry.position <= tape_.size() && entry.position >= before, "its name stands at a place out of order");
      before = entry.position;
      if (entry.kind == NameKind::given) {
        require(!entry.text.empty(), "its name is empty");
      } else {
        require(entry.of < tape_.size(), "it is named the cotangent of a node that does not exist");
        require(entry.index > 0, "it is named a contribution without a number");
      }
    }
  }

  const Tape& tape_;
  NodeId id_ = 0;
};

}  // namespace

void verify(const Tape& tape) { Verifier(tape).run(); }

}  // namespace ebb
