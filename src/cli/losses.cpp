#include "loss/catalogue.h"

#include <fmt/format.h>

#include "cli/command.h"

namespace toller {

int run_losses(CommandContext& context) {
  const auto values = parse_options(
      context, "toller losses",
      "Lists the losses of `toller train --loss NAME[:WEIGHT]`: formula, what each wants of the "
      "data, source, cost.\n"
      "s are scores, y grades, g gold scores, t the temperature, c --list-scale; B queries (or pairs), "
      "M documents of all ranks, K a query, d columns.",
      boost::program_options::options_description("Options"));
  if (!values || !is_root(context)) return 0;
  for (const LossDescription& loss : loss_descriptions()) {
    fmt::print("{}\n  {}\n  wants   {}\n  source  {}\n  cost    {}\n\n", loss.name, loss.formula, loss.inputs,
               loss.source, loss.cost);
  }
  return 0;
}

}  // namespace toller
