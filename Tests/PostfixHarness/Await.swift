// Waiting for a condition: polled, with a generous cap whose end is a failure. No test asserts how long anything took.

import Glibc

public enum Await {
    /// For hangs only, so it is far above what any machine needs: a step that takes a second on an idle one took three
    /// minutes on two cores with a load of 30.
    public static let cap: Duration = .seconds(600)
    /// The same for reads and writes of a socket (SO_RCVTIMEO, SO_SNDTIMEO).
    static let socketCap = timeval(tv_sec: 600, tv_usec: 0)
    private static let pause: UInt32 = 5_000  // microseconds between two looks

    /// The first value that `look` finds.
    /// - Parameter what: completes the sentence "waited in vain for ...".
    /// - Parameter context: more for the failure's text, such as the end of a log.
    /// - Throws: `HarnessError` when the cap is over; what `look` throws ends the wait at once.
    public static func value<Value>(
        _ what: String, within cap: Duration = Await.cap, context: () -> String = { "" }, look: () throws -> Value?
    ) throws -> Value {
        let end = ContinuousClock.now + cap
        while true {
            if let value = try look() { return value }
            guard ContinuousClock.now < end else {
                throw HarnessError("waited in vain for \(what)\n\(context())")
            }
            usleep(pause)
        }
    }

    /// Waits until `condition` holds.
    public static func until(
        _ what: String, within cap: Duration = Await.cap, context: () -> String = { "" }, condition: () throws -> Bool
    ) throws {
        let _: Bool = try value(what, within: cap, context: context) { try condition() ? true : nil }
    }
}
