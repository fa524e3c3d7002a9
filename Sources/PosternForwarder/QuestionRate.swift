// How many questions a zone has been sent lately: a bucket that fills with what a second allows, and holds no more.

import PosternMail

struct QuestionRate {
    private var left: Double?
    private var last = UnixTime(seconds: 0)

    /// Takes one question out of the bucket, if there is one.
    mutating func take(of perSecond: Int, now: UnixTime) -> Bool {
        let most = Double(perSecond)
        let passed = Double((now - last).nanoseconds) / 1e9
        let filled = min(most, left.map { $0 + passed * most } ?? most)
        last = now
        left = filled >= 1 ? filled - 1 : filled
        return filled >= 1
    }
}
