// Replies and values that no script of ours gives: a store that is none, is broken, or that others write to. Each is
// refused or taken for nothing; none ends the daemon.

import AdmissionSupport
import PosternAdmission
import PosternMail
import Testing

@testable import PosternStore

@Suite("shared store: strange replies") struct SharedStrangeReplyTests {
    private static let now: Int64 = 1_790_000_000_000
    private static let extremes: [Int64] = [.min, .min + 1, -1, 0, 1 << 50, .max - 1, .max]

    @Test("a greylist's reply may name keys that were not asked for") func places() throws {
        let request = GreylistRequest(
            client: try Network("192.0.2.0/24"), sender: Array("ann@example.net".utf8),
            recipient: Array("bo@example.org".utf8))
        let keys = DecisionKeys(request)
        let times = GreylistTimes(delay: .seconds(300), retryWithin: .seconds(86_400), remember: .seconds(3_000_000))
        func told(_ place: Int64, time: Int64 = Self.now) -> Told? {
            Told(
                .array([.integer(1), .integer(time), .null, .integer(place), .octets(Array("11763720000000".utf8))]),
                keys, times)
        }
        for place in Self.extremes + [5, 99] { #expect(told(place) == nil, "key \(place)") }
        #expect(told(1)?.rows.count == 1)
        for time in Self.extremes { #expect(told(2, time: time)?.rows.count == 1, "at \(time)") }
    }

    @Test("a limit's reply may have a time that no clock shows") func times() {
        let settings = LimitSettings(
            name: "a", per: [.saslUsername], count: .messages, allow: [AllowedRate(amount: 3, span: .seconds(60))],
            action: .hold(""), ipv4Prefix: 32, ipv6Prefix: 64, except: [], block: .zero, window: .sliding,
            shadow: false)
        let terms = LimitTerms(settings, number: 0)
        let memory = LimitMemory(maxKeys: 10)
        memory.prepare([terms])
        let request = LimitRequest(
            charges: [LimitCharge(terms, LimitKey(octets: [0x61]), amount: 1, isTotal: false)], instance: [0x31],
            connection: [], service: [], client: nil, account: [], totals: nil)
        let plan = memory.propose(request, now: UnixTime(seconds: Self.now / 1000), writes: true)
        func outcome(_ time: Int64) -> LimitOutcome? {
            SharedLimitCall.outcome(.array([.integer(time), .integer(0), .octets([])]), plan)
        }
        for time in Self.extremes where time != 0 { #expect(outcome(time) == nil, "at \(time)") }
        #expect(outcome(Self.now)?.time == Self.now)
    }

    @Test("TIME may be answered by more seconds than there are") func clocks() {
        func time(_ seconds: String, _ microseconds: String) -> Int64? {
            SharedLimits.time(.array([.octets(Array(seconds.utf8)), .octets(Array(microseconds.utf8))]))
        }
        #expect(time("1790000000", "999999") == Self.now + 999)
        for (seconds, microseconds) in [
            ("9223372036854775807", "0"), ("-9223372036854775808", "0"), ("-1", "0"), ("1", "1000000"), ("1", "-1"),
            ("x", "0"),
        ] { #expect(time(seconds, microseconds) == nil, "\(seconds) \(microseconds)") }
        #expect(SharedLimits.time(.null) == nil)
    }

    @Test("a fixed window may begin at the end of time, and is moved to now all the same") func windows() throws {
        let shape = try #require(
            LimitShape(name: "a", per: "b", count: .messages, spans: [60_000], window: .fixed, isWide: true))
        let cells = try #require(LimitCells(shape, last: Self.now, counts: [.max, .max]))
        for shift in [-Self.now, -1, 1, 1 << 50] {
            #expect(Int64(cells.shifted(by: shift).counts[0]) <= cells.shifted(by: shift).last / 1000, "by \(shift)")
        }
    }
}
