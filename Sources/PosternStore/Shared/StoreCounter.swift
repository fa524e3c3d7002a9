// What is counted of a shared store, by whoever uses it.

internal import PosternMail

enum StoreCounter: Int, CounterSet {
    case roundTrips, timeouts, unreachable, malformed, refusals, resting, openings, failedTries, local

    var name: CounterName {
        func failure(_ kind: String) -> CounterName { CounterName("postern_shared_store_failures_total", "kind", kind) }
        return switch self {
        case .roundTrips: CounterName("postern_shared_store_round_trips_total")
        case .timeouts: failure("timeout")
        case .unreachable: failure("unreachable")
        case .malformed: failure("malformed")
        case .refusals: failure("refused")
        case .resting: failure("resting")
        case .openings: CounterName("postern_shared_store_outages_total")
        case .failedTries: CounterName("postern_shared_store_failed_tries_total")
        case .local: CounterName("postern_shared_store_local_decisions_total")
        }
    }
}

extension CounterReading {
    /// What a ledger's shared store is to be told of yet.
    static func waiting(_ count: Int, in ledger: String) -> CounterReading {
        CounterReading(CounterName("postern_shared_store_waiting", "ledger", ledger), UInt64(clamping: count))
    }
}

enum StoreHistogram: Int, HistogramSet {
    case roundTrip

    var name: CounterName { CounterName("postern_shared_store_round_trip_seconds") }
}
