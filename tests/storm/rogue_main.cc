#include <ucp/api/ucp.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "kvtransfer/data_header.h"
#include "kvtransfer/ucx/data_address.h"
#include "tests/storm/child.h"

/// storm_rogue ADDRESS SEED: connects to a worker's data address (hexadecimal) over UCX itself, and sends
/// active messages that are malformed: headers cut, spoilt, of no version, lengths that are not those of the
/// payload, ids that nobody has set. Then it goes away, in half of the cases without a word.
namespace baton::storm {
namespace {

constexpr unsigned kDataId = 2;
constexpr int kMessages = 60;
constexpr int kRoundsMax = 200000;  // of progress: it gives up where the other side is stopped

struct Message {
  std::string header;
  std::vector<char> payload;
  bool done = false;
};

/// A header that is almost right.
std::string Spoilt(RandomStream& chance, std::size_t payload) {
  kvtransfer::DataHeader header;
  header.transfer = {.high = chance.Bits(), .low = chance.Bits()};
  header.receiver = Incarnation(chance.Bits());
  header.payload_bytes = static_cast<std::uint32_t>(payload);
  header.runs.resize(static_cast<std::size_t>(chance.Between(0, 16)));
  std::string bytes = kvtransfer::EncodeDataHeader(header);
  switch (chance.Between(0, 4)) {
    case 0:
      bytes.resize(static_cast<std::size_t>(chance.Between(0, std::ssize(bytes))));
      break;
    case 1:
      bytes[static_cast<std::size_t>(chance.Between(0, std::ssize(bytes) - 1))] ^=
          static_cast<char>(1 + chance.Between(0, 254));
      break;
    case 2:
      bytes[39] = '\x7f';  // the payload's length: 2 GiB
      break;
    case 3:
      bytes += std::string(1000, 'x');
      break;
    default:
      break;  // right, but of no transfer
  }
  return bytes;
}

ucp_context_h MakeContext() {
  ucp_config_t* config = nullptr;
  if (ucp_config_read(nullptr, nullptr, &config) != UCS_OK) return nullptr;
  ucp_config_modify(config, "TLS", "tcp,self");
  ucp_config_modify(config, "NET_DEVICES", "lo");
  ucp_params_t params{};
  params.field_mask = UCP_PARAM_FIELD_FEATURES;
  params.features = UCP_FEATURE_AM;
  ucp_context_h context = nullptr;
  if (ucp_init(&params, config, &context) != UCS_OK) context = nullptr;
  ucp_config_release(config);
  return context;
}

void Send(ucp_ep_h endpoint, Message& message, unsigned id, bool rendezvous) {
  ucp_request_param_t parameters{};
  parameters.op_attr_mask =
      UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS;
  parameters.flags = rendezvous ? UCP_AM_SEND_FLAG_RNDV : UCP_AM_SEND_FLAG_EAGER;
  parameters.cb.send = [](void* request, ucs_status_t, void* argument) {
    static_cast<Message*>(argument)->done = true;
    ucp_request_free(request);
  };
  parameters.user_data = &message;
  const ucs_status_ptr_t request =
      ucp_am_send_nbx(endpoint, id, message.header.data(), message.header.size(), message.payload.data(),
                      message.payload.size(), &parameters);
  if (!UCS_PTR_IS_PTR(request)) message.done = true;
}

int Run(const std::string& hexadecimal, std::uint64_t seed) {
  const auto address = kvtransfer::ucx::OpenAddress(FromHex(hexadecimal));
  if (!address.ok()) return 5;
  RandomStream chance(seed);
  const ucp_context_h context = MakeContext();
  if (context == nullptr) return 4;
  ucp_worker_params_t worker_params{};
  ucp_worker_h worker = nullptr;
  if (ucp_worker_create(context, &worker_params, &worker) != UCS_OK) return 4;
  ucp_ep_params_t ep_params{};
  ep_params.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                         UCP_EP_PARAM_FIELD_ERR_HANDLER;
  ep_params.address = reinterpret_cast<const ucp_address_t*>(address->data());
  ep_params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  ep_params.err_handler = {.cb = [](void*, ucp_ep_h, ucs_status_t) {}, .arg = nullptr};
  ucp_ep_h endpoint = nullptr;
  if (ucp_ep_create(worker, &ep_params, &endpoint) != UCS_OK) return 0;  // it died first
  std::vector<Message> messages(kMessages);
  for (Message& message : messages) {
    const bool large = chance.Between(0, 4) == 0;
    message.payload.resize(static_cast<std::size_t>(chance.Between(0, large ? 600000 : 20000)), 'r');
    message.header = Spoilt(chance, message.payload.size());
    const unsigned id = chance.Between(0, 5) == 0 ? static_cast<unsigned>(chance.Between(0, 9)) : kDataId;
    Send(endpoint, message, id, large && !message.payload.empty());
  }
  const auto all_done = [&] {
    for (const Message& message : messages) {
      if (!message.done) return false;
    }
    return true;
  };
  for (int round = 0; round < kRoundsMax && !all_done(); ++round) ucp_worker_progress(worker);
  if (chance.Between(0, 1) == 0) {
    ucp_request_param_t close_params{};
    static_cast<void>(ucp_ep_close_nbx(endpoint, &close_params));
    for (int round = 0; round < 1000; ++round) ucp_worker_progress(worker);
  }
  _exit(0);  // what is unfinished is left
}

}  // namespace
}  // namespace baton::storm

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  return baton::storm::Run(argv[1], std::stoull(argv[2]));
}
