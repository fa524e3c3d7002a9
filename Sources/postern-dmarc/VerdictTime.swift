// How the time for one message is shared out, so that no stranger's DNS can use up what another question needs
// (DESIGN §2). Postfix waits from the end of the message on; what comes before costs it nothing.

import PosternMail
import PosternSocket

struct VerdictTime {
    /// From the end of the message to the verdict.
    static let whole = Duration.seconds(20)
    /// For SPF while the envelope comes in; together with what is left at the end of the message it has the 20 s of
    /// RFC 7208 §4.6.4. No more now: a message that has come waits behind it, and no sign of life can be given to
    /// Postfix before its end (an admin may have set a short `content_timeout`).
    static let envelope = Duration.seconds(3)
    /// For the authors' policies and the signatures' keys. They are asked in one batch, in which nobody waits for
    /// another: no other question can have any of this time.
    static let records = Duration.seconds(8)
    /// For the HELO identity, if DNS has not told of it before. Nothing is decided by it, so that mail does not wait for
    /// it long.
    static let helo = Duration.seconds(3)
    /// Kept for the walks of identifiers that may align, which are the last to be asked.
    static let walks = Duration.seconds(3)

    /// From a message's first recipient to its verdict: whoever stops waits as long, and nobody cuts a verdict off.
    static let longest = envelope + whole

    private let began: MonotonicTime
    private let clock: @Sendable () -> MonotonicTime

    /// The message has ended.
    init(_ clock: @escaping @Sendable () -> MonotonicTime) {
        self.clock = clock
        began = clock()
    }

    /// What is left, never negative.
    /// - Parameter reserve: what others will need.
    func left(keeping reserve: Duration = .zero) -> Duration { max(.zero, Self.whole - reserve - (clock() - began)) }
}
