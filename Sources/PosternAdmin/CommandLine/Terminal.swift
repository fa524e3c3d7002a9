// Who sits before us: a question with an answer of one word, and the wish to end what is under way.

internal import Glibc
internal import Synchronization

enum Terminal {
    /// Longest answer, in octets.
    private static let maxAnswer = 64

    /// Writes a line of standard error over and over; nil where that is no terminal. Source: ECMA-48 §8.3.41 (EL).
    static var progress: ((String) -> Void)? {
        guard isatty(STDERR_FILENO) == 1 else { return nil }
        // Nobody is left to be shown anything when standard error is closed.
        return { _ = StandardStream.error.write(Array("\r\u{1B}[K\($0)".utf8)) }
    }

    /// - Returns: the answer without white space; nil where standard input is no terminal.
    static func ask(_ question: String) -> String? {
        guard isatty(STDIN_FILENO) == 1 else { return nil }
        // Nobody would see the question when standard error is closed, and the answer is no.
        _ = StandardStream.error.write(Array(question.utf8))
        var answer: [UInt8] = []
        var octet: UInt8 = 0
        while answer.count < maxAnswer, read(STDIN_FILENO, &octet, 1) == 1, octet != 0x0A { answer.append(octet) }
        return String(decoding: answer.filter { $0 > 0x20 }, as: UTF8.self)
    }
}

/// Signals that end a command, held back for a command that has to clean up, or to bring something to its end.
enum Interruption {
    private static let isWanted = Atomic<Bool>(false)
    private static let signals = [SIGINT, SIGTERM, SIGHUP]

    /// - Returns: whether one has come since.
    static func hold() -> () -> Bool {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = noteInterruption
        // Without SA_RESTART: who waits for an answer at the terminal stops waiting.
        for number in signals { _ = sigaction(number, &action, nil) }
        return { isWanted.load(ordering: .relaxed) }
    }

    /// Only what signal-safety(7) allows: an atomic store.
    fileprivate static func note() { isWanted.store(true, ordering: .relaxed) }
}

/// The handler. Plain, so that no actor owns it.
private func noteInterruption(_ number: Int32) { Interruption.note() }
