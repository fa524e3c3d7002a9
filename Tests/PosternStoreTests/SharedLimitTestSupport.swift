// Two hosts that share their limits in a private Redis server, for the tests of that.

import AdmissionSupport
import PosternAdmission
import PosternMail
import PostfixHarness
import TestSupport

@testable import PosternStore

/// What one host has: a connection to the store, its own ledger, and how messages are told apart.
final class SharedLimitHost: LimitAsking {
    let store: SharedStore
    private(set) var local: LimitStore
    private(set) var limits: SharedLimits
    let judge: LimitJudge
    let clock: ScriptedClock
    /// What this host's own clock is ahead of the store's.
    var skew: Duration = .zero
    private let name: String
    private let make: () -> (LimitStore, SharedLimits)
    private var messages = 0

    init(
        _ name: String, _ redis: RedisInstance, _ folder: TemporaryFolder, _ judge: LimitJudge, _ clock: ScriptedClock,
        log: RecordingLog, timeout: Duration, pauses: ClosedRange<Duration>, usesCallersClock: Bool
    ) {
        self.name = name
        self.judge = judge
        self.clock = clock
        let url = StoreURL(
            scheme: .redis, servers: [StoreURL.Server(host: redis.address, port: redis.port)], master: nil, database: 0)
        store = SharedStore(
            url, StoreSettings(url: url, timeout: timeout), log: log,
            pauses: pauses)
        let scripted: @Sendable () -> UnixTime = { [clock] in clock.now() }
        make = { [store] in
            let local = LimitStore(path: folder.path + "/" + name, log: log, wall: scripted)
            local.open(now: scripted(), writes: false)
            let limits = SharedLimits(store, local: local, log: log, scripted: usesCallersClock ? scripted : nil)
            limits.prepare(judge.terms)
            return (local, limits)
        }
        (local, limits) = make()
    }

    /// The daemon begins anew, from its journal.
    func restart() {
        local.flush()
        (local, limits) = make()
    }

    func message(_ account: String = "ann") -> LimitMessage {
        messages += 1
        var message = LimitMessage("\(name)-\(messages)")
        message.account = account
        message.port = "\(1024 + messages)"
        return message
    }

    var now: UnixTime { clock.now() + skew }

    func verdict(_ request: PolicyRequest) -> LimitVerdict {
        judge.verdict(on: request, ledger: limits, now: now)
    }

    /// Shows that Postfix asks at END-OF-MESSAGE.
    func attachHook() {
        var other = message("nobody-else")
        other.client = "198.51.100.99"
        _ = end(other, 0, size: 0)
    }

    func entry(_ key: String = "ann") throws -> LimitEntry? {
        try limits.entries(for: LimitKey(text: key), now: now).first
    }

    /// Of the first limit's first span, with what is reserved.
    func used(_ key: String = "ann") throws -> Int {
        let entry = try entry(key)
        return (entry?.uses.first?.used ?? 0) + (entry?.reserved ?? 0)
    }

    /// Waits until the store is asked again, and was told everything.
    func awaitReturn() throws {
        try Await.until("the store to be asked again") { store.isWorking }
        try Await.until("the store to be told") {
            limits.settle()
            return limits.debts.keys == 0
        }
    }
}

struct SharedLimitGround {
    let redis: RedisInstance
    let folder: TemporaryFolder
    let judge: LimitJudge
    let clock = ScriptedClock()
    let log = RecordingLog()
    let hosts: [SharedLimitHost]

    init(
        _ limits: [LimitSettings], hosts count: Int = 2, options: [String] = [], timeout: Duration = .seconds(5),
        pauses: ClosedRange<Duration> = .milliseconds(20) ... .milliseconds(50), usesCallersClock: Bool = true
    ) throws {
        redis = try RedisInstance(options: options)
        folder = try TemporaryFolder()
        judge = try LimitJudge(limits, isShadow: false)
        let (redis, folder, judge, clock, log) = (redis, folder, judge, clock, log)
        hosts = try (0..<count).map { number in
            let host = SharedLimitHost(
                "mx\(number + 1)", redis, folder, judge, clock, log: log, timeout: timeout,
                pauses: pauses, usesCallersClock: usesCallersClock)
            try Await.until("the store to be found") { host.store.isWorking }
            return host
        }
    }

    var mx1: SharedLimitHost { hosts[0] }
    var mx2: SharedLimitHost { hosts[1] }
}
