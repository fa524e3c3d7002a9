// The text of a verdict's log line, for checks and for limits alike.

internal import PosternMail

extension PolicyAnswer {
    /// `what would be answered (check: reason)`, as it is told or withheld, and what each shadow wants.
    ///
    /// - Parameter withheld: what would have been answered if not the whole suite only observed; nil where it acts.
    /// - Parameter source: the check that has decided, and why; nil where none has.
    /// - Parameter shadows: what each would have done, and its source.
    func text(withheld: PolicyAnswer?, by source: String?, shadows: [(wish: String, source: String)]) -> String {
        var pieces: [String] = []
        if let source {
            let wish = "\((withheld ?? self).summary) (\(source))"
            pieces.append(withheld.map { "would \($0.word): \(wish)" } ?? wish)
        } else {
            pieces.append(summary)
        }
        pieces += shadows.map { "shadow: \($0.wish) (\($0.source))" }
        return pieces.joined(separator: "; ")
    }

    /// What a shadow would have answered.
    var wish: String { "would \(word): \(summary)" }
}
