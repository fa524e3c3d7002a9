// A ledger, a judge and a clock, for the tests of limits.

import AdmissionSupport
import PosternAdmission
import PosternMail
import TestSupport

/// A ledger, a judge and a clock.
final class LimitGround: LimitAsking {
    var ledger: LimitMemory
    var judge: LimitJudge
    let clock = ScriptedClock()
    private var instances = 0

    init(_ limits: [LimitSettings], isShadow: Bool = false, maxKeys: Int = 10_000) throws {
        ledger = LimitMemory(maxKeys: maxKeys)
        judge = try LimitJudge(limits, isShadow: isShadow)
        ledger.prepare(judge.terms)
    }

    func verdict(_ request: PolicyRequest) -> LimitVerdict {
        judge.verdict(on: request, ledger: ledger, now: clock.now())
    }

    func message() -> LimitMessage {
        instances += 1
        return LimitMessage("i\(instances)")
    }

    /// Shows the ledger that Postfix asks at END-OF-MESSAGE.
    func attachHook() {
        var other = message()
        other.account = "nobody-else"
        other.client = "198.51.100.99"
        _ = end(other, 0, size: 0)
    }

    func used(_ key: String) -> [Int] {
        ledger.entries(for: LimitKey(text: key), now: clock.now()).flatMap { $0.uses.map(\.used) }
    }

    func reserved(_ key: String) -> Int {
        ledger.entries(for: LimitKey(text: key), now: clock.now()).reduce(0) { $0 + $1.reserved }
    }
}
